#include "runtime/experts/expert_store.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <ranges>
#include <span>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "io/read_window.h"
#include "runtime/io_error.h"

namespace hearth::runtime {

using profiler::ExpertState;
using profiler::Residency;

ExpertLease::ExpertLease(ExpertStore* store, ExpertId id) : store_(store), id_(id) {
  store->residency_->lease(id);
}

ExpertLease::ExpertLease(ExpertLease&& other) noexcept
    : store_(std::exchange(other.store_, nullptr)), id_(other.id_) {}

ExpertLease& ExpertLease::operator=(ExpertLease&& other) noexcept {
  std::swap(store_, other.store_);
  std::swap(id_, other.id_);
  return *this;
}

void ExpertLease::reset() {
  if (store_ != nullptr) std::exchange(store_, nullptr)->release(id_);
}

bool ExpertLease::ready() const { return store_->state(id_) == ExpertState::kReady; }

ExpertWeights ExpertLease::weights() const {
  CHECK(held() && ready());
  return store_->weights(id_);
}

SizeClasses size_classes(const ExpertCatalog& catalog, std::uint64_t alignment) {
  SizeClasses classes;
  for (std::uint32_t l = 0; l < catalog.layers(); ++l) {
    const LayerExperts& layer = catalog.layer(static_cast<LayerIndex>(l));
    if (layer.count > 0) classes.slot_bytes.push_back(layer.slot_bytes(alignment));
  }
  auto& sizes = classes.slot_bytes;
  std::sort(sizes.begin(), sizes.end());
  sizes.erase(std::unique(sizes.begin(), sizes.end()), sizes.end());
  if (sizes.size() >= Residency::kNoClass)
    throw_error(ErrorCode::kUnsupported,
                "the layers have experts of {} different sizes, more than the {} supported; use a "
                "file quantized more evenly",
                sizes.size(), Residency::kNoClass - 1);
  classes.experts.assign(sizes.size(), 0);
  for (std::uint32_t l = 0; l < catalog.layers(); ++l) {
    const LayerExperts& layer = catalog.layer(static_cast<LayerIndex>(l));
    if (layer.count == 0) {
      classes.class_of_layer.push_back(Residency::kNoClass);
      continue;
    }
    const auto at = std::lower_bound(sizes.begin(), sizes.end(), layer.slot_bytes(alignment));
    const auto index = static_cast<std::uint8_t>(at - sizes.begin());
    classes.class_of_layer.push_back(index);
    classes.experts[index] += layer.count;
  }
  return classes;
}

namespace {

std::unique_ptr<Residency> make_residency(const ExpertCatalog& catalog, const SizeClasses& classes,
                                          const ExpertStore::Options& options) {
  Residency::Config config{catalog.space(), {}, options.slots_of_class};
  config.size_class_of.assign(config.space.size(), Residency::kNoClass);
  for (std::uint32_t l = 0; l < catalog.layers(); ++l)
    for (std::uint32_t e = 0; e < catalog.layer(static_cast<LayerIndex>(l)).count; ++e)
      config.size_class_of[l * config.space.experts_per_layer + e] = classes.class_of_layer[l];
  auto policy = profiler::make_policy(options.policy, {.space = config.space,
                                                       .size_class_of = config.size_class_of,
                                                       .slots_of_class = config.slots_of_class,
                                                       .popularity = options.popularity});
  CHECK(policy != nullptr);  // names are validated where options are read
  return std::make_unique<Residency>(std::move(config), std::move(policy));
}

}  // namespace

ExpertStore::ExpertStore(const io::GgufFile& file, const ExpertCatalog& catalog,
                         io::AsyncReader& reader, const Options& options, const Clock& clock)
    : file_(file),
      catalog_(catalog),
      reader_(reader),
      clock_(clock),
      space_(catalog.space()),
      alignment_(reader.alignment()),
      max_reads_(options.max_reads),
      classes_(size_classes(catalog, alignment_)) {
  CHECK_EQ(options.slots_of_class.size(), classes_.slot_bytes.size());
  Bytes total;
  for (std::size_t c = 0; c < classes_.slot_bytes.size(); ++c)
    total += Bytes(classes_.slot_bytes[c]) * options.slots_of_class[c];
  arena_ = io::Arena(total);
  for (std::size_t c = 0; c < classes_.slot_bytes.size(); ++c)
    class_memory_.push_back(
        arena_.take(Bytes(classes_.slot_bytes[c]) * options.slots_of_class[c], 1).data());
  residency_ = make_residency(catalog, classes_, options);
  register_slots();
  filling_.resize(space_.size());
}

ExpertStore::~ExpertStore() { drain(reader_); }

std::byte* ExpertStore::slot_memory(profiler::SlotId slot) const {
  return class_memory_[slot.size_class] + slot.index * classes_.slot_bytes[slot.size_class];
}

std::span<std::byte> ExpertStore::slots_memory(std::size_t size_class, std::uint32_t begin,
                                               std::uint32_t end) const {
  const std::uint64_t bytes = classes_.slot_bytes[size_class];
  return {class_memory_[size_class] + begin * bytes, (end - begin) * bytes};
}

// What is registered cannot be given back: the kernel keeps its pages, and would read into them.
void ExpertStore::register_slots() {
  std::vector<std::span<std::byte>> regions;
  for (std::uint8_t c = 0; c < classes_.slot_bytes.size(); ++c)
    regions.push_back(slots_memory(c, 0, residency_->slots(c)));
  reader_.register_memory(regions);
}

void ExpertStore::take_memory_again(std::span<const std::uint32_t> slots_of_class) {
  const auto added = [&](std::uint8_t c) {
    const std::uint32_t now = residency_->slots(c);
    return slots_memory(c, now, std::max(now, slots_of_class[c]));
  };
  std::uint8_t c = 0;
  try {
    for (; c < slots_of_class.size(); ++c) arena_.take_again(added(c));
  } catch (...) {
    while (c > 0) arena_.give_back(added(--c));
    throw;
  }
}

void ExpertStore::set_slots(std::span<const std::uint32_t> slots_of_class) {
  CHECK_EQ(slots_of_class.size(), classes_.slot_bytes.size());
  settle();
  take_memory_again(slots_of_class);  // before anything changes: it may fail
  const auto move = [this](profiler::SlotId from, profiler::SlotId to) {
    std::memcpy(slot_memory(to), slot_memory(from), classes_.slot_bytes[to.size_class]);
  };
  std::vector<std::uint32_t> before;
  for (std::uint8_t c = 0; c < slots_of_class.size(); ++c) {
    before.push_back(residency_->slots(c));
    residency_->set_slots(c, slots_of_class[c], move);
  }
  register_slots();
  for (std::uint8_t c = 0; c < slots_of_class.size(); ++c)
    if (slots_of_class[c] < before[c])
      arena_.give_back(slots_memory(c, slots_of_class[c], before[c]));
}

// Asks the queue first: a decision on slots that could not be carried out would have to be undone.
FetchResult ExpertStore::fetch(ExpertId id, profiler::FillReason reason) {
  if (!reader_has_room()) return FetchResult::kQueueFull;
  const auto slot = residency_->begin_fill(id, reason);
  if (!slot) return FetchResult::kNoSlot;
  read_into(*slot, id, reason);
  return FetchResult::kStarted;
}

bool ExpertStore::reader_has_room() const {
  return reader_.outstanding() + kExpertMatrices <= max_reads_;
}

void ExpertStore::read_into(profiler::SlotId slot, ExpertId id, profiler::FillReason reason) {
  const LayerExperts& layer = catalog_.layer(id.layer);
  std::byte* memory = slot_memory(slot);
  std::array<io::ReadRequest, kExpertMatrices> requests;
  for (std::size_t m = 0; m < kExpertMatrices; ++m) {
    const ExpertSlab& slab = layer.slabs[m];
    const io::ReadWindow window =
        io::read_window(slab.offset + id.index * slab.stride, slab.bytes, alignment_);
    requests[m] = {.file = slab.file,
                   .offset = window.offset,
                   .destination = {memory, window.length},
                   .needed = window.needed,
                   .tag = space_.flat(id) * kExpertMatrices + m};
    memory += io::window_capacity(slab.bytes, alignment_);
  }
  filling_[space_.flat(id)] = {.reason = reason, .reads = kExpertMatrices};
  reader_.submit(requests);
}

void ExpertStore::collect(io::AsyncReader::Wait wait) {
  std::array<io::ReadCompletion, 32> completions;
  const Nanoseconds start = clock_.now();
  std::size_t count = reader_.reap(completions, wait);
  if (wait == io::AsyncReader::Wait::kOne) time_waited_ += clock_.now() - start;
  std::optional<ExpertId> failed;  // the first; the others are taken note of all the same
  while (count > 0) {
    for (const io::ReadCompletion& completion : std::span(completions).first(count))
      if (!finish_read(completion) && !failed) failed = expert_of(completion);
    count = reader_.reap(completions, io::AsyncReader::Wait::kNow);
  }
  if (!failed) return;
  const Filling& filling = filling_[space_.flat(*failed)];
  throw_read_error(file_.paths()[filling.failed_part], filling.error,
                   fmt::format("expert {} of layer {}", failed->index, failed->layer));
}

void ExpertStore::release(ExpertId id) {
  residency_->release(id);
  Filling& filling = filling_[space_.flat(id)];
  if (!filling.failed || residency_->leases(id) > 0) return;
  filling.failed = false;
  residency_->fill_failed(id);
}

void ExpertStore::settle() {
  while (reading()) collect(io::AsyncReader::Wait::kOne);
}

// The leases keep what is on its way from being given up silently where its read fails.
void ExpertStore::seed(std::span<const ExpertId> most_wanted_first,
                       FunctionRef<void(Bytes)> progress) {
  const Bytes before = bytes_read_;
  std::vector<ExpertLease> leases;
  for (const ExpertId id : std::views::reverse(most_wanted_first)) {
    FetchResult result = fetch(id, profiler::FillReason::kSeed);
    while (result == FetchResult::kQueueFull) {
      collect(io::AsyncReader::Wait::kOne);
      progress(bytes_read_ - before);
      result = fetch(id, profiler::FillReason::kSeed);
    }
    CHECK(result == FetchResult::kStarted);
    leases.push_back(lease(id));
  }
  while (reading()) {
    collect(io::AsyncReader::Wait::kOne);
    progress(bytes_read_ - before);
  }
}

void ExpertStore::load_absent() {
  std::vector<ExpertId> absent;
  for (std::uint32_t flat = 0; flat < space_.size(); ++flat) {
    const ExpertId id = space_.id(flat);
    if (id.index < catalog_.layer(id.layer).count && state(id) == ExpertState::kAbsent)
      absent.push_back(id);
  }
  seed(absent, [](Bytes) {});
}

ExpertId ExpertStore::expert_of(const io::ReadCompletion& completion) const {
  return space_.id(static_cast<std::uint32_t>(completion.tag / kExpertMatrices));
}

// False when it makes the fill of an expert fail that somebody waits for.
bool ExpertStore::finish_read(const io::ReadCompletion& completion) {
  const ExpertId id = expert_of(completion);
  const LayerExperts& layer = catalog_.layer(id.layer);
  Filling& filling = filling_[space_.flat(id)];
  CHECK_GT(filling.reads, 0);
  filling.reads -= 1;
  if (completion.error != 0) {
    filling.error = completion.error;
    filling.failed_part = layer.slabs[completion.tag % kExpertMatrices].file;
  }
  if (filling.reads > 0) return true;
  if (filling.error == 0) {
    bytes_read_ += Bytes(layer.bytes());
    residency_->fill_done(id);
    return true;
  }
  if (residency_->leases(id) == 0) {
    residency_->fill_failed(id);
    return true;
  }
  // A prefetch may fail unseen; what has become wanted meanwhile is read again, as a demand.
  if (filling.reason != profiler::FillReason::kDemand && reader_has_room()) {
    read_into(*residency_->slot(id), id, profiler::FillReason::kDemand);
    return true;
  }
  filling.failed = true;
  return false;
}

ExpertWeights ExpertStore::weights(ExpertId id) const {
  const auto slot = residency_->slot(id);
  CHECK(slot.has_value());
  const LayerExperts& layer = catalog_.layer(id.layer);
  const std::byte* memory = slot_memory(*slot);
  std::array<kernels::WeightMatrix, kExpertMatrices> matrices;
  for (std::size_t m = 0; m < kExpertMatrices; ++m) {
    const ExpertSlab& slab = layer.slabs[m];
    const std::uint64_t skip = (slab.offset + id.index * slab.stride) % alignment_;
    matrices[m] = {slab.format, slab.rows, slab.columns, memory + skip};
    memory += io::window_capacity(slab.bytes, alignment_);
  }
  return {matrices[0], matrices[1], matrices[2]};
}

}  // namespace hearth::runtime
