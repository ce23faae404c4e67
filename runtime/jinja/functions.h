// The functions that every template has: range, dict, namespace, raise_exception, strftime_now.
#pragma once

#include "runtime/jinja/interpreter.h"

namespace hearth::runtime::jinja {

Variables global_functions();

}  // namespace hearth::runtime::jinja
