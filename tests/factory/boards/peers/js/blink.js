const five = require("johnny-five");
const board = new five.Board({ port: "./uno" });
board.on("ready", () => new five.Led(13).blink(500));
