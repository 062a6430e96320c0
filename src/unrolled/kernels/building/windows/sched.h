/* What kernels take from <sched.h> is in prelude.h. */
