// A part of a layer: reads the residual stream, adds to it. Immutable, shared by all sessions.
#pragma once

#include "runtime/kv_cache.h"
#include "runtime/recurrent_state.h"
#include "runtime/scratch.h"
#include "runtime/step.h"

namespace hearth::runtime {

struct DeviceNeeds;
struct DeviceStep;

class Block {
 public:
  virtual ~Block() = default;
  virtual void state_needs(ScratchShape& scratch, KvLayer& kv) const = 0;
  virtual void recurrent_needs(RecurrentLayer&) const {}
  virtual void run(Step& step) const = 0;

  // The same on a device (runtime/gpu/): enqueues what run() computes, to the bit.
  virtual void device_needs(DeviceNeeds&) const {}
  virtual void record(DeviceStep& step) const = 0;
};

}  // namespace hearth::runtime
