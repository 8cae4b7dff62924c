// Loaded before a program (`node -r ./serialport8.js`): johnny-five calls serialport as its version 8 was
// called, which has to be compiled when it is installed. This hands it version 13, which has not.
"use strict";

const Module = require("module");
const { SerialPort } = require("serialport");

class SerialPort8 extends SerialPort {
  constructor(path, options, opened) {
    super({ ...options, path }, opened);
  }
}

const load = Module._load;
Module._load = (name, ...rest) => (name === "serialport" ? SerialPort8 : load(name, ...rest));
