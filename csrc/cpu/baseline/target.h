// The instructions every machine of the architecture has.
#define SKN_ISA baseline
#define SKN_LEVEL 0
