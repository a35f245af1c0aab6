// Ends what a target.h began.
#if defined(SKN_TARGET) && defined(__clang__)
#pragma clang attribute pop
#elif defined(SKN_TARGET)
#pragma GCC pop_options
#endif
