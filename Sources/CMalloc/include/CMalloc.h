#pragma once
// glibc's own settings of its heap; the Glibc module leaves <malloc.h> out.
#include <malloc.h>
