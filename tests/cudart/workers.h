// Threads of the device that run branches of graphs: as many as there are branches at once.
#pragma once

#include <functional>

namespace hearth::cudart {

void run_on_worker(std::function<void()> work);

}  // namespace hearth::cudart
