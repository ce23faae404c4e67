// The subcommands of `hearth profile`: each takes the arguments after its name and returns the exit
// code.
#pragma once

#include "tools/hearth/subcommands.h"

namespace hearth::tools {

int profile_check(const Arguments& arguments);
int profile_diff(const Arguments& arguments);
int profile_export(const Arguments& arguments);
int profile_import(const Arguments& arguments);
int profile_merge(const Arguments& arguments);
int profile_record(const Arguments& arguments);
int profile_show(const Arguments& arguments);

}  // namespace hearth::tools
