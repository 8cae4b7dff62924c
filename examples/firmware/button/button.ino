// Button: the LED is lit while the button between pin 2 and ground is pressed.
// The pin interrupts, so the firmware can do something else meanwhile.

const int BUTTON = 2;

void changed() {
  digitalWrite(LED_BUILTIN, digitalRead(BUTTON) == LOW ? HIGH : LOW);
}

void setup() {
  pinMode(LED_BUILTIN, OUTPUT);
  pinMode(BUTTON, INPUT_PULLUP);
  attachInterrupt(digitalPinToInterrupt(BUTTON), changed, CHANGE);
  changed();
}

void loop() {
}
