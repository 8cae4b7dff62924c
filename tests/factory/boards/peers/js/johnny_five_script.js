// johnny-five drives a board: `johnny_five_script.js pty PATH` or `tcp HOST:PORT`.
"use strict";

const five = require("johnny-five");
const Firmata = require("firmata-io")(Object);

const [door, address] = process.argv.slice(2);

function transport() {
  if (door === "tcp") {
    const { EtherPortClient } = require("etherport-client");
    const [host, port] = address.split(":");
    return new EtherPortClient({ host, port: Number(port), reconnectTimeout: 0 });
  }
  const { SerialPort } = require("serialport");
  return new SerialPort({ path: address, baudRate: 57600 });
}

const known = {};
const waiting = [];
function heard(what, value) {
  known[what] = value;
  for (const check of [...waiting]) check();
}
function waitFor(what, value) {
  return new Promise((resolve) => {
    const check = () => {
      if (known[what] !== value) return;
      waiting.splice(waiting.indexOf(check), 1);
      console.log(what, value);
      resolve();
    };
    waiting.push(check);
    check();
  });
}

const board = new five.Board({ io: new Firmata(transport()), repl: false, debug: false });
board.on("error", (error) => {
  console.error(error);
  process.exit(1);
});
board.on("ready", async () => {
  new five.Led(13).on();
  const sensor = new five.Sensor({ pin: "A0", freq: 20 });
  sensor.on("data", () => heard("analog", sensor.raw));
  const button = new five.Button({ pin: 2, isPullup: true });
  heard("button", 1);
  button.on("down", () => heard("button", 0));
  await waitFor("analog", 511);
  await waitFor("button", 1);
  await waitFor("button", 0);
  new five.Led(9).brightness(128);
  new five.Servo({ pin: 10, startAt: 90 });
  console.log("done");
  process.stdin.once("data", () => process.exit(0));
});
