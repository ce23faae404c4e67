// Pages that are one file, open offline and load nothing.
#pragma once

#include <string>
#include <string_view>

namespace hearth::tools {

// The page of that name in tools/hearth/assets. Where it says {{style NAME}} or {{script NAME}}
// that file is put in, and `json` becomes the element #data where it says {{data}}.
std::string html_page(std::string_view name, std::string_view json);

}  // namespace hearth::tools
