"""pyFirmata2 drives a board: ``pyfirmata2_script.py pty PATH`` or ``tcp HOST:PORT``.

It knows serial ports only; for TCP it gets the socket of pyserial in their place.
"""

import queue
import sys

import pyfirmata2
import serial

door, address = sys.argv[1:]
if door == "tcp":
    pyfirmata2.pyfirmata2.serial.Serial = lambda url, *_, **more: serial.serial_for_url(url, timeout=1)
    address = f"socket://{address}"
board = pyfirmata2.Arduino(address)
print("firmware", board.firmware, flush=True)

board.get_pin("d:13:o").write(1)

heard: queue.Queue[tuple[str, object]] = queue.Queue()
analog = board.get_pin("a:0:i")
analog.register_callback(lambda value: heard.put(("analog", round(value * 1023))))
button = board.get_pin("d:2:i")
button.register_callback(lambda value: heard.put(("button", int(value))))
button.enable_reporting()
board.samplingOn()

known: dict[str, object] = {}


def wait_for(what, value):
    while known.get(what) != value:
        key, now = heard.get(timeout=30)
        known[key] = now
    print(what, value, flush=True)


wait_for("analog", 511)
wait_for("button", 1)
wait_for("button", 0)

board.get_pin("d:9:p").write(128 / 255)
board.get_pin("d:10:s").write(90)
print("done", flush=True)
sys.stdin.readline()
board.exit()
