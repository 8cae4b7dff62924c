/* Each timer in another mode, each with an interrupt that toggles a pin, and thresholds that change meanwhile. */
#include <avr/interrupt.h>
#include <avr/io.h>
#include <util/delay.h>

ISR(TIMER0_COMPB_vect) { PIND = _BV(4); }
ISR(TIMER1_COMPA_vect) { PINB = _BV(0); }
ISR(TIMER2_OVF_vect) { PIND = _BV(7); }

int main(void)
{
    uint8_t turn = 0;
    DDRB = _BV(0) | _BV(5);
    DDRD = _BV(4) | _BV(7);
    OCR0B = 100;
    TIMSK0 = _BV(OCIE0B);
    TCCR0B = _BV(CS01) | _BV(CS00); /* normal, / 64 */
    OCR1A = 4999;
    TIMSK1 = _BV(OCIE1A);
    TCCR1B = _BV(WGM12) | _BV(CS11); /* to OCR1A, / 8 */
    OCR2A = 80;
    TIMSK2 = _BV(TOIE2);
    TCCR2A = _BV(WGM20);
    TCCR2B = _BV(CS22) | _BV(CS21); /* phase correct, / 256 */
    sei();
    for (;;) {
        _delay_ms(7);
        turn++;
        OCR0B += 50;
        OCR1A = 4999 + 100 * (turn & 15);
        OCR2A += 3;
        if ((turn & 7) == 0)
            PINB = TCNT1 & 1 ? _BV(5) : 0;
    }
}
