// An ATmega328P on an Arduino Uno, made of avr8js, for whoever shares memory with this context.
//
// How it is used, by avr8js.py:
//   - The firmware is written to `memory.flash`; then `chip.start()`.
//   - Commands are written to `memory.commands`, their number to the header. `chip.run()` obeys them, runs to
//     the cycle in the header or until there is no more room for events, and leaves the events there.
// Nothing else crosses the border: one evaluation a slice, and no object is converted.
//
// A reset makes a new chip around what keeps its contents: RAM, EEPROM, the voltages at the pins, the time.
"use strict";

const chip = (() => {
  const A = avr8js;
  const HERTZ = 16e6;
  const EVENT_ROOM = 16384, EVENT_MARGIN = 64; // one instruction makes no more than the margin
  const COMMAND_ROOM = 16384;
  const RX_ROOM = 65536;
  const LONGEST = 2 ** 24; // cycles in one call; so that a call ends soon

  // Places in the header, which is made of doubles. As avr8js.py has them.
  const CYCLE = 0, UNTIL = 1, ORIGIN = 2, EVENTS = 3, COMMANDS = 4, DROPPED = 5;
  const header = new Float64Array(8);
  const events = new Int32Array(3 * (EVENT_ROOM + EVENT_MARGIN)); // cycle since ORIGIN; kind * 256 + pin; value
  const commands = new Int32Array(2 * COMMAND_ROOM); // command * 256 + pin; value
  const flash = new Uint16Array(0x10000).fill(0xffff); // what is beyond the chip's own 0x4000 words stays erased

  // Kinds of events and commands. As avr8js.py has them.
  const PIN = 1, DUTY = 2, UART = 3, RESTARTED = 4, STOPPED = 5;
  const LEVEL = 1, VOLTS = 2, FEED = 3, RESET = 4;
  const UNKNOWN = 1, ERASED = 2, ENDLESS = 3, ASLEEP = 4, OUTSIDE = 5; // why it stopped
  const INPUT = 0, PULLUP = 1, LOW = 2, HIGH = 3;

  const FLASH_WORDS = 0x4000, RAM_BYTES = 2048, RAM_START = 0x100, EEPROM_BYTES = 1024;
  const MCUSR = 0x54, SMCR = 0x53, WDTCSR = 0x60, ADCSRA = 0x7a, ADCSRB = 0x7b, ADIF = 0x10;
  const UCSR0A = 0xc0, UCSR0B = 0xc1, UDR0 = 0xc6;
  const POWER_ON = 1, BUTTON = 2; // in MCUSR

  const PORTS = [
    { config: A.portBConfig, first: 8, mask: 0x3f },
    { config: A.portCConfig, first: 14, mask: 0x3f },
    { config: A.portDConfig, first: 0, mask: 0xff },
  ];
  const portOf = (pin) => (pin < 8 ? 2 : pin < 14 ? 0 : 1);

  const TIMERS = [
    { config: A.timer0Config, pins: [6, 5] },
    { config: A.timer1Config, pins: [9, 10] },
    { config: A.timer2Config, pins: [11, 3] },
  ];

  // -- what outlives a reset -------------------------------------------------------------------

  const eeprom = new A.EEPROMMemoryBackend(EEPROM_BYTES);
  const outside = new Int8Array(20).fill(-1); // what drives each pin from outside: 0, 1, or -1 for nothing
  const volts = new Float64Array(8);
  const told = new Uint8Array(20); // the states that were last reported: INPUT at first
  const duties = new Int16Array(20).fill(-1);
  const line = { bytes: new Uint8Array(RX_ROOM), first: 0, count: 0 }; // on their way to RX
  const counters = new Map(); // the timers, by what the clock calls
  let special = new Uint8Array(flash.length); // by address: what to look at before it is executed
  let cpu = null, ports = [], adc = null, usart = null, pumping = false;
  let stopAt = 0, room = 0, origin = 0;
  let stopped = false, sleeping = false, bitten = false;

  const emit = (kind, pin, value) => {
    events[room] = cpu.cycles - origin;
    events[room + 1] = kind * 256 + pin;
    events[room + 2] = value;
    room += 3;
    if (room >= 3 * EVENT_ROOM) stopAt = 0; // the slice ends here
  };

  // -- instructions that are no ordinary ones ----------------------------------------------------

  const known = (word) => {
    const low = word & 15;
    switch (word >> 12) {
      case 0x0: return word === 0 || word >= 0x0100;
      case 0x9: break;
      case 0xf: return word < 0xf800 || (word & 8) === 0;
      default: return true;
    }
    if (word < 0x9200) return ![3, 6, 7, 8, 11].includes(low); // LDS, LD, LPM, POP
    if (word < 0x9400) return ![3, 4, 5, 6, 7, 8, 11].includes(low); // STS, ST, PUSH
    if (word >= 0x9600) return true; // ADIW, SBIW, CBI, SBIC, SBI, SBIS, MUL
    if (low === 8) return word < 0x9500 || [0x9508, 0x9518, 0x9588, 0x9598, 0x95a8, 0x95c8, 0x95e8].includes(word);
    if (low === 9) return word === 0x9409 || word === 0x9509; // IJMP, ICALL
    return low !== 4 && low !== 11;
  };
  const RJMP_SELF = 0xcfff, SLEEP = 0x9588;
  const study = () => {
    special = Uint8Array.from(flash, (word) => (!known(word) || word === RJMP_SELF || word === SLEEP ? 1 : 0));
  };

  // Returns whether the instruction is not to be executed.
  const consider = () => {
    const { pc } = cpu, word = flash[pc];
    const guarded = (cpu.data[WDTCSR] & 8) !== 0; // the watchdog will end whatever this is
    if (pc < 0 || pc >= FLASH_WORDS) return stop(OUTSIDE);
    if (word === 0xffff) return stop(ERASED);
    if (!known(word)) return stop(UNKNOWN);
    if (word === RJMP_SELF) return !cpu.interruptsEnabled && !guarded && stop(ENDLESS);
    if ((cpu.data[SMCR] & 1) === 0) return false; // sleep is not enabled: no operation
    if (!cpu.interruptsEnabled && !guarded) return stop(ASLEEP);
    cpu.pc++;
    cpu.cycles++;
    sleeping = true;
    return true;
  };

  const stop = (why) => {
    emit(STOPPED, why, cpu.pc * 2);
    stopped = true;
    stopAt = 0;
    return true;
  };

  // -- pins --------------------------------------------------------------------------------------

  const attachPort = ({ config, first, mask }, number) => {
    const port = new A.AVRIOPort(cpu, config);
    let oldValue = 0, oldDdr = 0;
    port.addListener((value) => {
      const ddr = port.lastDdr;
      let changed = ((value ^ oldValue) | (ddr ^ oldDdr)) & mask;
      const redirected = (ddr ^ oldDdr) & mask;
      const left = oldValue & oldDdr;
      oldValue = value;
      oldDdr = ddr;
      while (changed) {
        const index = 31 - Math.clz32(changed), bit = 1 << index, pin = first + index;
        changed ^= bit;
        if (!(ddr & bit) && outside[pin] < 0) {
          // Nothing outside: the pull-up decides, else what was there when it was an output.
          if (value & bit) port.pinValue |= bit;
          else if (redirected & bit) port.pinValue = (port.pinValue & ~bit) | (left & bit);
        }
        tell(pin);
      }
      if (redirected) refreshDuties();
    });
    for (let index = 0; index < 8; index++) {
      if ((mask >> index) & 1 && outside[first + index] > 0) port.setPin(index, true);
    }
    ports[number] = { port, config, first };
  };

  const tell = (pin) => {
    if (duties[pin] >= 0) return;
    const { port, config, first } = ports[portOf(pin)], bit = 1 << (pin - first);
    const driven = cpu.data[config.DDR] & bit;
    const state = driven ? (port.lastValue & bit ? HIGH : LOW) : cpu.data[config.PORT] & bit ? PULLUP : INPUT;
    if (state === told[pin]) return;
    told[pin] = state;
    emit(PIN, pin, state);
  };

  const drive = (pin, level) => {
    outside[pin] = level;
    const { port, config, first } = ports[portOf(pin)], index = pin - first, bit = 1 << index;
    if (level >= 0) port.setPin(index, level === 1);
    else if (cpu.data[config.PORT] & ~cpu.data[config.DDR] & bit) port.setPin(index, true);
  };

  // -- PWM: read from the registers, since its single edges are too many to report ---------------

  const FAST = 1, PHASE = 2;
  const MODES_8 = [0, PHASE, 0, FAST, 0, PHASE, 0, FAST];
  const MODES_16 = [0, PHASE, PHASE, PHASE, 0, FAST, FAST, FAST, PHASE, PHASE, PHASE, PHASE, 0, 0, FAST, FAST];
  const TOPS_16 = { 1: 0xff, 2: 0x1ff, 3: 0x3ff, 5: 0xff, 6: 0x1ff, 7: 0x3ff };
  const word = (address) => cpu.data[address] | (cpu.data[address + 1] << 8);

  const dutyOf = ({ config, pins }, channel) => {
    const pin = pins[channel], { config: port, first } = ports[portOf(pin)];
    const a = cpu.data[config.TCCRA], b = cpu.data[config.TCCRB];
    const compare = (a >> (channel ? 4 : 6)) & 3;
    if (compare < 2 || !(b & 7) || !(cpu.data[port.DDR] & (1 << (pin - first)))) return -1;
    const wide = config.bits === 16;
    const mode = (a & 3) | ((b & (wide ? 0x18 : 0x08)) >> 1);
    if (!(wide ? MODES_16 : MODES_8)[mode]) return -1;
    const read = wide ? word : (address) => cpu.data[address];
    let top = 0xff;
    if (wide) top = TOPS_16[mode] ?? (mode & 1 ? read(config.OCRA) : read(config.ICR));
    else if (mode > 3) top = read(config.OCRA);
    const level = Math.min(read(channel ? config.OCRB : config.OCRA), top);
    const duty = top ? Math.round((level * 255) / top) : 0;
    return compare === 3 ? 255 - duty : duty;
  };

  const refreshDuties = () => {
    for (const timer of TIMERS) {
      for (let channel = 0; channel < 2; channel++) {
        const pin = timer.pins[channel], duty = dutyOf(timer, channel);
        if (duty === duties[pin]) continue;
        duties[pin] = duty;
        emit(DUTY, pin, duty);
        if (duty < 0) {
          told[pin] = 0xff;
          tell(pin);
        }
      }
    }
  };

  // Has something done after a register was written.
  const after = (address, then) => {
    const hook = cpu.writeHooks[address];
    cpu.writeHooks[address] = (value, old, at, mask) => {
      if (!hook || !hook(value, old, at, mask)) cpu.data[address] = value;
      then(value, old);
      return true;
    };
  };

  // -- timers ------------------------------------------------------------------------------------

  // How many counts it is at least until a timer does something that shows.
  const distance = (timer) => {
    const { tcnt, TOP, ocrA, ocrB, countingUp, timerMode } = timer;
    if (timer.tcntUpdated || timer.updateDivider || tcnt > TOP) return 1;
    const down = (timerMode === 1 || timerMode === 4) && !countingUp; // phase correct
    let least = down ? tcnt : TOP - tcnt;
    for (const level of [ocrA, ocrB]) {
      const away = down ? tcnt - level : level - tcnt;
      if (away > 0 && away < least) least = away;
    }
    return Math.max(least, 1);
  };

  const attachTimer = (wired) => {
    const { config } = wired, timer = new A.AVRTimer(cpu, config);
    counters.set(timer.count, timer);
    for (const register of [config.TCCRA, config.TCCRB, config.OCRA, config.OCRB, config.ICR]) {
      if (!register) continue;
      const hook = cpu.writeHooks[register];
      cpu.writeHooks[register] = (value, old, at, mask) => {
        if (!timer.updateDivider) timer.count(false); // up to here by the old values
        if (!hook(value, old, at, mask)) cpu.data[register] = value;
        cpu.updateClockEvent(timer.count, 0);
        refreshDuties();
        return true;
      };
    }
  };

  // avr8js wakes a timer for each of its counts. It reckons as well with many at once, so it need not be woken
  // before something shows; reading its counter, or writing to its registers, brings it up to date in between.
  const attachTimers = () => {
    counters.clear();
    const add = cpu.addClockEvent;
    cpu.addClockEvent = function (callback, cycles) {
      const timer = counters.get(callback);
      const skipped = timer && cycles > 0 && timer.divider ? (distance(timer) - 1) * timer.divider : 0;
      return add.call(this, callback, cycles + skipped);
    };
    TIMERS.forEach(attachTimer);
  };

  // -- the serial line ---------------------------------------------------------------------------

  const attachUsart = () => {
    usart = new A.AVRUSART(cpu, A.usart0Config, HERTZ);
    const fifo = []; // two bytes, and a third in the shift register
    usart.onByteTransmit = (value) => {
      if (usart.txEnable) cpu.addClockEvent(() => emit(UART, 0, value), usart.cyclesPerChar);
    };
    cpu.readHooks[UDR0] = () => {
      const value = fifo.length ? fifo.shift() : 0;
      cpu.data[UCSR0A] &= ~8; // DOR
      if (!fifo.length) cpu.clearInterrupt(usart.RXC);
      return value;
    };
    // avr8js forgets flags when the firmware writes to these two.
    const writeA = cpu.writeHooks[UCSR0A];
    cpu.writeHooks[UCSR0A] = (value, old, at, mask) => {
      const kept = cpu.data[UCSR0A] & 0xbc; // RXC, UDRE, FE, DOR, UPE
      writeA(value, old, at, mask);
      cpu.data[UCSR0A] |= kept;
      return true;
    };
    after(UCSR0B, () => {
      if (!usart.rxEnable) fifo.length = 0;
      else if (fifo.length) cpu.setInterruptFlag(usart.RXC);
    });
    usart.arrive = (value) => {
      if (!usart.rxEnable) return;
      if (fifo.length > 2) {
        cpu.data[UCSR0A] |= 8; // DOR
        return;
      }
      fifo.push(value);
      cpu.setInterruptFlag(usart.RXC);
    };
    pumping = false;
    pump();
  };

  const pump = () => {
    if (pumping || !line.count) return;
    pumping = true;
    const owner = cpu;
    owner.addClockEvent(() => {
      if (owner !== cpu) return; // the chip was reset meanwhile
      pumping = false;
      usart.arrive(line.bytes[line.first]);
      line.first = (line.first + 1) % RX_ROOM;
      line.count--;
      pump();
    }, usart.cyclesPerChar);
  };

  const feed = (value) => {
    if (line.count === RX_ROOM) {
      header[DROPPED]++;
      return;
    }
    line.bytes[(line.first + line.count++) % RX_ROOM] = value;
    pump();
  };

  // -- the converter -----------------------------------------------------------------------------

  const attachAdc = () => {
    adc = new A.AVRADC(cpu, A.adcConfig);
    for (let channel = 0; channel < 8; channel++) adc.channelValues[channel] = volts[channel];
    // Writing a one to ADIF clears it; avr8js sets it.
    const writeControl = cpu.writeHooks[ADCSRA];
    cpu.writeHooks[ADCSRA] = (value, old, at, mask) => {
      if (value & ADIF) cpu.clearInterrupt(adc.ADC);
      const flagged = (value & ~ADIF) | (cpu.data[ADCSRA] & ADIF);
      if (!writeControl(flagged, old, at, mask)) cpu.data[ADCSRA] = flagged;
      return true;
    };
    const complete = adc.completeADCRead.bind(adc);
    adc.completeADCRead = (value) => {
      complete(value);
      // Free running, which avr8js leaves out: the end of one conversion starts the next.
      if ((cpu.data[ADCSRA] & 0xa0) === 0xa0 && !(cpu.data[ADCSRB] & 7)) {
        cpu.writeData(ADCSRA, (cpu.data[ADCSRA] & ~ADIF) | 0x40);
      }
    };
  };

  // -- life --------------------------------------------------------------------------------------

  const make = (cause) => {
    const old = cpu;
    cpu = new A.CPU(flash, RAM_BYTES);
    if (old) {
      cpu.cycles = old.cycles;
      cpu.data.set(old.data.subarray(RAM_START), RAM_START);
    }
    cpu.reset = () => { bitten = true; stopAt = 0; }; // called by the watchdog
    cpu.data[MCUSR] = cause;
    stopped = sleeping = bitten = false;
    PORTS.forEach(attachPort);
    attachTimers();
    attachUsart();
    attachAdc();
    new A.AVRSPI(cpu, A.spiConfig, HERTZ);
    new A.AVRTWI(cpu, A.twiConfig, HERTZ);
    new A.AVREEPROM(cpu, eeprom);
    new A.AVRWatchdog(cpu, A.watchdogConfig, new A.AVRClock(cpu, HERTZ));
  };

  const tellAll = () => {
    refreshDuties();
    for (let pin = 0; pin < told.length; pin++) tell(pin);
  };

  const obey = () => {
    const count = header[COMMANDS];
    header[COMMANDS] = 0;
    for (let at = 0; at < 2 * count; at += 2) {
      const pin = commands[at] & 0xff, value = commands[at + 1];
      switch (commands[at] >> 8) {
        case LEVEL: drive(pin, value); break;
        case VOLTS: volts[pin] = adc.channelValues[pin] = value / 1e6; break;
        case FEED: feed(value); break;
        case RESET: make(BUTTON); tellAll(); break;
      }
    }
  };

  const doze = () => {
    while (sleeping && cpu.cycles < stopAt) {
      const { pc } = cpu;
      cpu.tick();
      if (cpu.pc !== pc) sleeping = false; // an interrupt
      else if (!bitten) {
        const next = cpu.nextClockEvent;
        cpu.cycles = Math.max(cpu.cycles, next ? Math.min(next.cycles, stopAt) : stopAt);
      }
    }
  };

  const spin = () => {
    const mine = cpu;
    while (mine.cycles < stopAt) {
      if (special[mine.pc] !== 0 && consider()) return;
      A.avrInstruction(mine);
      const next = mine.nextClockEvent;
      if ((next !== null && next.cycles <= mine.cycles) || mine.nextInterrupt >= 0) mine.tick();
    }
  };

  const run = () => {
    origin = header[ORIGIN] = cpu.cycles;
    room = 0;
    obey();
    const end = Math.min(header[UNTIL], origin + LONGEST);
    while (cpu.cycles < end && !stopped && room < 3 * EVENT_ROOM) {
      stopAt = end;
      if (sleeping) doze();
      else spin();
      if (bitten) {
        emit(RESTARTED, 0, 0);
        make(cpu.data[MCUSR]);
        tellAll();
      }
    }
    if (stopped && cpu.cycles < end) cpu.cycles = end;
    header[CYCLE] = cpu.cycles;
    header[EVENTS] = room / 3;
  };

  return {
    start: () => { study(); make(POWER_ON); },
    run,
    memory: { header: header.buffer, events: events.buffer, commands: commands.buffer, flash: flash.buffer },
  };
})();
