// What is left when the process ends.
#pragma once

namespace hearth::cudart {

// At exit, after the static objects that were made later than this call. With HEARTH_CUDART_LEAKS
// the exit code is 1 then, if anything is left or was misused.
void report_at_exit();

}  // namespace hearth::cudart
