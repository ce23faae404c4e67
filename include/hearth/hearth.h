// libhearth: Mixture-of-Experts language models that are larger than memory.
#pragma once

#include <hearth/status.h>
