// Manual pages in roff, for man and mandoc.
#pragma once

#include <string>
#include <string_view>

#include "tools/hearth/command_description.h"

namespace hearth::tools {

// "hearth profile record" → "hearth-profile-record"
std::string page_name(std::string_view command);

// The page of one command in section 1. `version`: "0.1.0".
std::string manual_page(const CommandDescription& command, std::string_view version);

}  // namespace hearth::tools
