// The escapes of a string in a template: those of Python.
#pragma once

#include <string>
#include <string_view>

namespace hearth::runtime::jinja {

// \n, \t, \xNN, \uNNNN, \UNNNNNNNN, octal, a newline after a backslash; others stay as they are.
std::string unescape_literal(std::string_view written);

void append_utf8(std::string& text, char32_t code);

}  // namespace hearth::runtime::jinja
