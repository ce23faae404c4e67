// The GPUs that are here.
#include "api/handles.h"
#include "runtime/gpu/choose_device.h"

using namespace hearth::border;

extern "C" {

hearth_status hearth_list_devices(hearth_on_device on_device, void* user) {
  return guarded([&] {
    if (on_device == nullptr) throw Misuse(HEARTH_ERROR_USAGE, "on_device is null; give one");
    const hearth::runtime::FoundDevices found = hearth::runtime::find_devices();
    if (found.devices.empty())
      hearth::throw_error(hearth::ErrorCode::kDevice, "there is no GPU: {}", found.why_none);
    for (const auto& [name, backend, properties] : found.devices) {
      const hearth_device_facts facts{.size = sizeof(hearth_device_facts),
                                      .name = name.c_str(),
                                      .model = properties.name.c_str(),
                                      .architecture = properties.architecture.c_str(),
                                      .driver = properties.driver.c_str(),
                                      .memory = properties.memory.count};
      on_device(user, &facts);
    }
  });
}
}
