#include "../bodies/before.h"
#include "target.h"
// The one step with intrinsics, then the body, for this instruction set.
#include "pair_bits.h"
#include "../bodies/kendall_tau.h"
#include "../end_target.h"
