#include "runtime/gpu/chunk_experts.h"

#include <algorithm>

#include "base/check.h"
#include "runtime/gpu/mapped.h"

namespace hearth::runtime {

using kernels::ExpertSource;
using kernels::GroupedExpert;
using kernels::SlotLayout;

namespace {

SlotLayout layout_of(const LayerExperts& layer) {
  return kernels::slot_layout(layer.part(0, 0).bytes, layer.part(0, 1).bytes,
                              layer.part(0, 2).bytes);
}

// Room for all experts of a layer, up to the bound; for one of them whatever it needs.
std::uint64_t staging_bytes(const Model& model, Bytes most) {
  std::uint64_t bytes = 0;
  for (std::uint32_t l = 0; l < model.experts.layers(); ++l) {
    const LayerExperts& layer = model.experts.layer(static_cast<LayerIndex>(l));
    if (layer.count == 0) continue;
    const std::uint64_t one = layout_of(layer).size;
    bytes = std::max({bytes, one, std::min(one * layer.count, most.count)});
  }
  return bytes;
}

Bytes table_bytes(const Model& model) {
  return Bytes(model.experts.space().size() * sizeof(GroupedExpert));
}

// As the constructor takes it.
Bytes device_bytes(const Model& model, bool streams, Bytes most_staging) {
  DeviceArena counted;
  counted.take(table_bytes(model));
  for (int buffer = 0; streams && buffer < 2; ++buffer)
    counted.take(Bytes(staging_bytes(model, most_staging)));
  return counted.taken();
}

}  // namespace

ChunkExperts::Plan ChunkExperts::plan(const Model& model, bool streams, Bytes most_staging) {
  return {.device = device_bytes(model, streams, most_staging),
          .pinned = table_bytes(model) + (streams ? Uploader::bytes_needed() : Bytes(0))};
}

ChunkExperts::ChunkExperts(Engine& engine, ExpertArena& experts, kernels::Device& device,
                           kernels::Stream& stream, bool streams, Bytes most_staging)
    : space_(engine.model().experts.space()),
      arena_(experts),
      stream_(stream),
      memory_(device, device_bytes(engine.model(), streams, most_staging),
              "the experts of prompts"),
      on_device_(memory_.take<GroupedExpert>(space_.size())),
      host_memory_(mapped_memory(device, table_bytes(engine.model()), "the experts of prompts")),
      host_(reinterpret_cast<GroupedExpert*>(host_memory_.data())),
      layers_(space_.layers) {
  if (!streams) return;
  staging_bytes_ = staging_bytes(engine.model(), most_staging);
  for (Buffer& buffer : buffers_) {
    buffer.memory = memory_.take(Bytes(staging_bytes_));
    buffer.there = device.new_event(kernels::EventTiming::kNone);
    buffer.computed = device.new_event(kernels::EventTiming::kNone);
  }
  link_ = device.new_stream(kernels::StreamPriority::kNormal);
  uploader_ = std::make_unique<Uploader>(device, *link_);
  stored_ = std::make_unique<StoredExpertBytes>(engine.experts(), space_.experts_per_layer);
  not_mapped_.reserve(space_.experts_per_layer);
  places_.reserve(space_.experts_per_layer);
}

void ChunkExperts::begin(bool moved) {
  if (!listed_ || moved) look();
  for (const LayerList& layer : layers_) counters_.resident += layer.resident;
}

void ChunkExperts::look() {
  arena_.begin_changes();
  std::uint32_t wave = 0;
  for (std::uint32_t l = 0; l < space_.layers; ++l) list(static_cast<LayerIndex>(l), wave);
  arena_.end_changes();
  stream_.copy(on_device_, host_, Bytes(space_.size() * sizeof(GroupedExpert)));
  listed_ = true;
}

// Waves are numbered over all layers, and buffers take turns with them.
void ChunkExperts::list(LayerIndex layer, std::uint32_t& wave) {
  LayerList& to = layers_[layer];
  to = {};
  const std::uint32_t count = arena_.experts().experts_of_layer[layer];
  GroupedExpert* next = host_ + space_.flat({layer, 0});
  const auto each = [&](auto&& add) {
    for (std::uint32_t e = 0; e < count; ++e)
      add(e, arena_.address({layer, static_cast<std::uint16_t>(e)}));
  };
  each([&](std::uint32_t expert, const std::byte* at) {
    if (at == nullptr) return;
    *next++ = {.at = at, .expert = expert};
    to.resident += 1;
  });
  if (to.resident == count) return;
  const std::uint64_t size = arena_.experts().layout_of_layer[layer].size;
  const auto at_once = static_cast<std::uint32_t>(staging_bytes_ / size);
  CHECK_GT(at_once, 0u);
  std::uint32_t index = to.resident;
  each([&](std::uint32_t expert, const std::byte* at) {
    if (at != nullptr) return;
    if (to.waves.empty() || to.waves.back().count == at_once)
      to.waves.push_back({.first = index, .buffer = wave++ % 2});
    Wave& last = to.waves.back();
    *next++ = {.at = buffers_[last.buffer].memory + last.count * size, .expert = expert};
    last.count += 1;
    index += 1;
  });
}

const GroupedExpert* ChunkExperts::experts(LayerIndex layer) const {
  return on_device_ + space_.flat({layer, 0});
}

const GroupedExpert& ChunkExperts::listed(LayerIndex layer, std::uint32_t index) const {
  return host_[space_.flat({layer, 0}) + index];
}

void ChunkExperts::bring(LayerIndex layer, const Wave& wave) {
  const Buffer& buffer = buffers_[wave.buffer];
  const SlotLayout& layout = arena_.experts().layout_of_layer[layer];
  link_->wait(*buffer.computed);
  not_mapped_.clear();
  places_.clear();
  for (std::uint32_t i = wave.first; i < wave.first + wave.count; ++i) {
    const auto expert = static_cast<std::uint16_t>(listed(layer, i).expert);
    auto* const to = const_cast<std::byte*>(listed(layer, i).at);
    const ExpertSource& from = arena_.source({layer, expert});
    if (from.parts[0] == nullptr) {
      not_mapped_.push_back(expert);
      places_.push_back(to);
      continue;
    }
    for (std::uint32_t part = 0; part < kernels::kExpertParts; ++part)
      link_->copy(to + layout.offsets[part], from.parts[part], Bytes(layout.bytes[part]));
  }
  if (!not_mapped_.empty()) bring_stored(layer);
  counters_.staged += wave.count;
  for (const std::uint64_t bytes : layout.bytes)
    counters_.staged_bytes += Bytes(bytes * wave.count);
  link_->record(*buffer.there);
  stream_.wait(*buffer.there);
}

// Their bytes are in pinned pieces when a copy returns, so that slots in RAM are free again at once
// and the disk goes on.
void ChunkExperts::bring_stored(LayerIndex layer) {
  const SlotLayout& layout = arena_.experts().layout_of_layer[layer];
  stored_->begin(layer, not_mapped_);
  try {
    for (std::size_t left = not_mapped_.size(); left > 0;) {
      for (const ArrivedExpert& one : stored_->arrived()) {
        const kernels::WeightMatrix* const parts[] = {&one.weights.gate, &one.weights.up,
                                                      &one.weights.down};
        for (std::uint32_t part = 0; part < kernels::kExpertParts; ++part)
          uploader_->copy(places_[one.place] + layout.offsets[part],
                          {parts[part]->data, layout.bytes[part]});
        left -= 1;
        stored_->poll();
      }
      stored_->computed();
    }
  } catch (...) {
    stored_->end();
    throw;
  }
  stored_->end();
}

void ChunkExperts::computed(const Wave& wave) { stream_.record(*buffers_[wave.buffer].computed); }

}  // namespace hearth::runtime
