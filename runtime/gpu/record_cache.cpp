#include "runtime/gpu/record_cache.h"

#include "base/check.h"

namespace hearth::runtime {

using kernels::GpuKernels;
using kernels::KvPart;

void record_turn(const DeviceStep& step, const RotaryPlace& rotary, float epsilon,
                 std::initializer_list<kernels::HeadGroup> groups) {
  kernels::TurnTask task{.rows = step.rows,
                         .position = step.inputs.position(),
                         .cosine = step.inputs.cosine() + rotary.begin,
                         .sine = step.inputs.sine() + rotary.begin,
                         .table_stride = step.inputs.rotary_stride(),
                         .epsilon = epsilon};
  std::size_t count = 0;
  for (const kernels::HeadGroup& group : groups) {
    if (group.heads == 0) continue;
    CHECK_LT(count, std::size(task.groups));
    task.groups[count++] = group;
  }
  if (count > 0) step.launch(&GpuKernels::turn, task);
}

void record_encode(const DeviceStep& step, LayerIndex layer, std::uint32_t heads) {
  step.launch(&GpuKernels::encode_kv, {.rows = step.rows,
                                       .heads = heads,
                                       .position = step.inputs.position(),
                                       .tail = step.kv.formats().tail,
                                       .parts = {step.kv.memory(layer, KvPart::kKeys),
                                                 step.kv.memory(layer, KvPart::kValues)}});
}

void record_attend(const DeviceStep& step, LayerIndex layer, const AttentionShape& shape,
                   const RowQueries& queries, const kernels::HeadResults& results,
                   const kernels::Ahead& ahead) {
  const KvFormats& formats = step.kv.formats();
  const kernels::KvRotation rotation = shape.values_in_keys
                                           ? formats.latent_rotation(shape.key_dim, shape.value_dim)
                                           : formats.rotation(KvPart::kValues, shape.value_dim);
  step.launch(&GpuKernels::attend,
              {.rows = step.rows,
               .heads = shape.heads,
               .kv_heads = shape.kv_heads,
               .value_dim = shape.value_dim,
               .scale = shape.score_scale(),
               .position = step.inputs.position(),
               .window = shape.window.positions,
               .window_is_piece = shape.window.chunked,
               .tail = formats.tail,
               .queries = queries.values,
               .query_stride = queries.stride,
               .keys = step.kv.memory(layer, KvPart::kKeys),
               .values = step.kv.memory(layer, KvPart::kValues),
               .values_in_keys = shape.values_in_keys,
               .sinks = step.weights.of(shape.sinks),
               .states = step.scratch.attention_states,
               .rotation = kernels::reversed(kernels::rotation_layout(rotation)),
               .results = results,
               .ahead = ahead});
}

}  // namespace hearth::runtime
