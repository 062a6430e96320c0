/* Fused multiply-adds on registers alone: as fast as one core can go, whatever a kernel does.
 *
 * No memory is touched. 12 chains hide the latency of the operation (4 to 5 cycles, two a cycle)
 * and fit the 16 registers of AVX2; every chain tends to 1, so no number grows or dies out. */
#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX__)
#define LANES 8
#else
#define LANES 4
#endif
#define CHAINS 12

typedef float vector __attribute__((vector_size(4 * LANES)));

/* Floating point operations of one round. */
long flop_of_a_round(void) { return 2L * LANES * CHAINS; }

/* Run `rounds` rounds from CHAINS numbers at `start`, which the compiler cannot know to be equal.
 * The result only keeps it from leaving the rounds out. */
float run(long rounds, const float *start) {
    const vector slope = (vector){0} + 0.75f, shift = (vector){0} + 0.25f, zero = {0};
    vector a = zero + start[0], b = zero + start[1], c = zero + start[2], d = zero + start[3];
    vector e = zero + start[4], f = zero + start[5], g = zero + start[6], h = zero + start[7];
    vector i = zero + start[8], j = zero + start[9], k = zero + start[10], l = zero + start[11];
    for (long round = 0; round < rounds; round++) {
        a = a * slope + shift, b = b * slope + shift, c = c * slope + shift;
        d = d * slope + shift, e = e * slope + shift, f = f * slope + shift;
        g = g * slope + shift, h = h * slope + shift, i = i * slope + shift;
        j = j * slope + shift, k = k * slope + shift, l = l * slope + shift;
    }
    vector sum = a + b + c + d + e + f + g + h + i + j + k + l;
    float total = 0;
    for (int lane = 0; lane < LANES; lane++) total += sum[lane];
    return total;
}
