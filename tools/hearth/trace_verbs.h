// The subcommands of `hearth trace`: each takes the arguments after its name and returns the exit
// code.
#pragma once

#include "tools/hearth/subcommands.h"

namespace hearth::tools {

int trace_show(const Arguments& arguments);
int trace_stats(const Arguments& arguments);
int trace_synth(const Arguments& arguments);

}  // namespace hearth::tools
