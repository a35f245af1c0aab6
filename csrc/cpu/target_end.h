// Ends the section that target.h began.
#if SKN_LEVEL > 0 && defined(__clang__)
#pragma clang attribute pop
#elif SKN_LEVEL > 0
#pragma GCC pop_options
#endif
