// The printable characters that byte-level BPE files write for bytes.
//
// Printable bytes of Latin-1 stand for themselves; the 68 others, in ascending order, are written
// as U+0100, U+0101, ... (so a space is U+0120).
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace hearth::runtime {

// The bytes that `written` stands for; empty where it holds a character outside the alphabet.
std::optional<std::string> bytes_from_alphabet(std::string_view written);

std::string bytes_to_alphabet(std::string_view bytes);

}  // namespace hearth::runtime
