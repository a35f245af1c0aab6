#if defined(__x86_64__)
#include "../bodies/before.h"
#include "target.h"
// The body, for this instruction set.
#include "../bodies/ffn.h"
#include "../end_target.h"
#endif
