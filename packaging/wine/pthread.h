/* What the driver takes from <pthread.h> is in system.h. */
