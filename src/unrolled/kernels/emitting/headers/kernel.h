/* All headers in the order in which a kernel holds them: for editors, and to compile them alone. */
#ifndef UNROLLED_KERNEL_H
#define UNROLLED_KERNEL_H

#include "cell.h"
#include "vector.h"
#include "words.h"
#include "tile.h"
#include "call.h"
#include "steps.h"
#include "reduce.h"
#include "row_steps.h"
#include "pack.h"
#include "forward.h"
#include "backward.h"
#include "gradient.h"
#include "entry.h"

#endif
