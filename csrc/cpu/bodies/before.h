// The headers that the bodies use, included before an instruction set is chosen. An inline function of a standard
// header that is first seen under a wider set would be compiled for it, and the linker may pick that copy for every
// machine.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <new>
#include <type_traits>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "../accumulate_hits.h"
#include "../accumulate_moments.h"
#include "../auroc.h"
#include "../digest.h"
#include "../encode.h"
#include "../ffn.h"
#include "../kendall_tau.h"
#include "../permuted_hits.h"
#include "../pool_tokens.h"
