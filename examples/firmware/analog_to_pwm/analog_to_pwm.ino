// Analog to PWM: the knob at A0 dims the LED at pin 9. At the far left it is dark, and a tone sounds at pin 3.

const int KNOB = A0;
const int LAMP = 9;
const int BUZZER = 3;

void setup() {
  pinMode(BUZZER, OUTPUT);
}

void loop() {
  int duty = analogRead(KNOB) / 4;
  analogWrite(LAMP, duty);
  if (duty == 0) {
    tone(BUZZER, 440);
  } else {
    noTone(BUZZER);
  }
  delay(10);
}
