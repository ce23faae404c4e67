// "%s of %d" % (a, b) and "{} of {:>4}".format(a, b), as Python writes them.
#pragma once

#include <vector>

#include "runtime/jinja/arguments.h"
#include "runtime/jinja/text.h"

namespace hearth::runtime::jinja {

// Types d i u s r x X o e E f F g G and %; names as in %(name)s are looked up in `right`, a
// mapping. `right` is what stands right of the operator: a tuple has the arguments, anything else
// is the only one. Throws Error(kBadInput).
Text percent_formatted(const Text& format, const Value& right);

// Fields {}, {0}, {name}, {name.attribute[key]}, with !s and !r, and the format specification of
// Python but for the thousands of 'n'. Throws Error(kBadInput).
Text brace_formatted(const Text& format, const CallArguments& arguments);

}  // namespace hearth::runtime::jinja
