"""pymata-express drives a board: ``pymata_express_script.py pty PATH`` or ``tcp HOST:PORT``."""

import asyncio
import sys

from pymata_express import pymata_express

door, address = sys.argv[1:]
loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
if door == "tcp":
    host, port = address.rsplit(":", 1)
    board = pymata_express.PymataExpress(ip_address=host, ip_port=int(port), loop=loop)
else:
    board = pymata_express.PymataExpress(com_port=address, baud_rate=57600, loop=loop)

heard: asyncio.Queue[tuple[str, int]] = asyncio.Queue()
known: dict[str, int] = {}


async def wait_for(what, value):
    while known.get(what) != value:
        key, now = await asyncio.wait_for(heard.get(), 30)
        known[key] = now
    print(what, value, flush=True)


async def analog(data):
    heard.put_nowait(("analog", data[2]))


async def button(data):
    heard.put_nowait(("button", data[2]))


async def main():
    await board.set_pin_mode_digital_output(13)
    await board.digital_write(13, 1)
    await board.set_pin_mode_analog_input(0, callback=analog)
    await board.set_pin_mode_digital_input(2, callback=button)
    await wait_for("analog", 511)
    await wait_for("button", 1)
    await wait_for("button", 0)
    await board.set_pin_mode_pwm_output(9)
    await board.pwm_write(9, 128)
    await board.set_pin_mode_servo(10)
    await board.servo_write(10, 90)
    print("done", flush=True)
    await loop.run_in_executor(None, sys.stdin.readline)
    await board.shutdown()


loop.run_until_complete(main())
