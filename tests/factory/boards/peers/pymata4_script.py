"""pymata4 drives a board: ``pymata4_script.py pty PATH`` or ``tcp HOST:PORT``."""

import queue
import sys

from pymata4 import pymata4

door, address = sys.argv[1:]
if door == "tcp":
    host, port = address.rsplit(":", 1)
    board = pymata4.Pymata4(ip_address=host, ip_port=int(port))
else:
    board = pymata4.Pymata4(com_port=address, baud_rate=57600)

board.set_pin_mode_digital_output(13)
board.digital_write(13, 1)

heard = queue.Queue()
board.set_pin_mode_analog_input(0, callback=lambda data: heard.put(("analog", data[2])))
board.set_pin_mode_digital_input(2, callback=lambda data: heard.put(("button", data[2])))
known = {}


def wait_for(what, value):
    while known.get(what) != value:
        key, now = heard.get(timeout=30)
        known[key] = now
    print(what, value, flush=True)


wait_for("analog", 511)
wait_for("button", 1)
wait_for("button", 0)

board.set_pin_mode_pwm_output(9)
board.pwm_write(9, 128)
board.set_pin_mode_servo(10)
board.servo_write(10, 90)
print("done", flush=True)
sys.stdin.readline()
board.shutdown()
