/* What the driver takes from <sys/mman.h> is in system.h. */
