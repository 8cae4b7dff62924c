/* Toggles pin 13 about every 50 ms: counts cycles for 40 ms, while interrupts steal some, then waits for ten of
 * those interrupts. */
#include <avr/interrupt.h>
#include <avr/io.h>
#include <util/delay.h>

static volatile uint8_t ticks;

ISR(TIMER0_OVF_vect) { ticks++; }

int main(void)
{
    DDRB |= _BV(5);
    TCCR0B = _BV(CS01) | _BV(CS00);
    TIMSK0 = _BV(TOIE0);
    sei();
    for (;;) {
        PINB = _BV(5);
        _delay_ms(40);
        uint8_t before = ticks;
        while ((uint8_t)(ticks - before) < 10)
            ;
    }
}
