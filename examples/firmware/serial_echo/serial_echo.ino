// Serial echo: says hello, then sends back each byte that comes, at 9600 baud.

void setup() {
  Serial.begin(9600);
  Serial.println("hello");
}

void loop() {
  if (Serial.available()) {
    Serial.write(Serial.read());
  }
}
