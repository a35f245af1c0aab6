// One body for one instruction set. The build compiles this file once for every pair of them that BODIES in setup.py
// names, with
//   SKN_BODY  the file of the body: "bodies/encode.h"
//   SKN_ISA   the instruction set, which is also the namespace: avx2
#include "bodies/before.h"

#include "target.h"

#include SKN_BODY

#include "target_end.h"
