// A failed read, as a line for the user.
#pragma once

#include <string_view>

#include "io/async_reader.h"

namespace hearth::runtime {

// `path` is that of the part; `what`: "tensor blk.3.attn_q.weight" or "expert 17 of layer 3".
[[noreturn]] void throw_read_error(std::string_view path, int error, std::string_view what);

}  // namespace hearth::runtime
