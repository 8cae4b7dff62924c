/* Does what a byte on the serial line (115,200 baud) tells it, and answers there; other bytes come back.
 *
 *   0..7  converts that channel of the ADC, answers two bytes, the low one first
 *   n     answers how often INT0 (falling, pin 2) and PCINT20 (pin 4) have come
 *   d     answers the levels of pins 0 to 7
 *   u     pulls pin 4 up        U  lets it float
 *   h     pin 13 is HIGH        l  LOW
 *   pX    PWM on pin 6 (fast, timer 0), qX on pin 9 (phase correct, timer 1), rX on pin 3 (timer 2)
 *   P     ends all PWM
 *   f     reads channel 0 in free running mode three times, answers the last
 *   m     answers MCUSR, and clears it
 *   EX    writes X into the EEPROM, e answers it
 *   Z     sleeps until an interrupt comes, then answers "z"
 *   t     does nothing for 10 ms, while interrupts come
 *   w     waits for the watchdog, with interrupts off
 *   c     waits for nothing, with interrupts off
 *   s     sleeps with interrupts off
 *   x     jumps into erased flash
 */
#include <avr/eeprom.h>
#include <avr/interrupt.h>
#include <avr/io.h>
#include <avr/sleep.h>
#include <avr/wdt.h>
#include <util/delay.h>

static volatile uint8_t fell, changed;
static volatile uint8_t ring[64], head, tail;

ISR(INT0_vect) { fell++; }
ISR(PCINT2_vect) { changed++; }
ISR(USART_RX_vect)
{
    uint8_t byte = UDR0, next = (head + 1) & 63;
    if (next != tail) { /* as Arduino does: what does not fit is lost */
        ring[head] = byte;
        head = next;
    }
}

static uint8_t get(void)
{
    while (head == tail)
        ;
    uint8_t byte = ring[tail];
    tail = (tail + 1) & 63;
    return byte;
}

static void put(uint8_t byte)
{
    while (!(UCSR0A & _BV(UDRE0)))
        ;
    UDR0 = byte;
}

static uint16_t convert(void)
{
    ADCSRA |= _BV(ADSC);
    while (ADCSRA & _BV(ADSC))
        ;
    return ADC;
}

static void put16(uint16_t value)
{
    put(value & 0xff);
    put(value >> 8);
}

static void pwm(uint8_t which)
{
    uint8_t value = get();
    switch (which) {
    case 'p':
        DDRD |= _BV(6);
        OCR0A = value;
        TCCR0B = _BV(CS01) | _BV(CS00);
        TCCR0A = _BV(COM0A1) | _BV(WGM01) | _BV(WGM00);
        break;
    case 'q':
        DDRB |= _BV(1);
        OCR1A = value;
        TCCR1B = _BV(CS11) | _BV(CS10);
        TCCR1A = _BV(COM1A1) | _BV(WGM10);
        break;
    default:
        DDRD |= _BV(3);
        OCR2B = value;
        TCCR2B = _BV(CS22);
        TCCR2A = _BV(COM2B1) | _BV(COM2B0) | _BV(WGM20);
    }
}

static uint16_t run_freely(void)
{
    uint8_t times;
    ADMUX = _BV(REFS0);
    ADCSRB = 0;
    ADCSRA |= _BV(ADATE) | _BV(ADSC);
    for (times = 0; times < 3; times++) {
        while (!(ADCSRA & _BV(ADIF)))
            ;
        ADCSRA |= _BV(ADIF);
    }
    ADCSRA &= ~_BV(ADATE);
    while (ADCSRA & _BV(ADSC))
        ;
    return ADC;
}

static void obey(uint8_t byte)
{
    switch (byte) {
    case '0' ... '7':
        ADMUX = _BV(REFS0) | (byte - '0');
        put16(convert());
        break;
    case 'n': put(fell); put(changed); break;
    case 'd': put(PIND); break;
    case 'u': PORTD |= _BV(4); break;
    case 'U': PORTD &= ~_BV(4); break;
    case 'h': PORTB |= _BV(5); break;
    case 'l': PORTB &= ~_BV(5); break;
    case 'p': case 'q': case 'r': pwm(byte); break;
    case 'P': TCCR0A = TCCR1A = TCCR2A = 0; break;
    case 'f': put16(run_freely()); break;
    case 'm': put(MCUSR); MCUSR = 0; break;
    case 'E': eeprom_write_byte((uint8_t *)5, get()); break;
    case 'e': put(eeprom_read_byte((uint8_t *)5)); break;
    case 'Z': set_sleep_mode(SLEEP_MODE_IDLE); sleep_mode(); put('z'); break;
    case 't': _delay_ms(10); break;
    case 'w': cli(); wdt_enable(WDTO_15MS); for (;;) ;
    case 'c': cli(); for (;;) ;
    case 's': cli(); sleep_mode(); break;
    case 'x': ((void (*)(void))0x3000)(); break;
    default: put(byte);
    }
}

int main(void)
{
    DDRB |= _BV(5);
    EICRA = _BV(ISC01);
    EIMSK = _BV(INT0);
    PCMSK2 = _BV(PCINT20);
    PCICR = _BV(PCIE2);
    ADCSRA = _BV(ADEN) | _BV(ADPS2) | _BV(ADPS1) | _BV(ADPS0);
    UCSR0A = _BV(U2X0);
    UBRR0 = 16;
    UCSR0B = _BV(RXEN0) | _BV(TXEN0) | _BV(RXCIE0);
    sei();
    for (;;)
        obey(get());
}
