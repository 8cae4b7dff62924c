/* Toggles pin 13 every 50 ms by counting cycles. */
#include <avr/io.h>
#include <util/delay.h>

int main(void)
{
    DDRB |= _BV(5);
    for (;;) {
        PINB = _BV(5);
        _delay_ms(50);
    }
}
