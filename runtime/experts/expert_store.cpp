#include "runtime/experts/expert_store.h"

#include <xxhash.h>

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

const std::byte* ExpertLease::part(std::uint32_t index) const {
  CHECK(held() && ready());
  return store_->part(id_, index);
}

SizeClasses size_classes(const ExpertCatalog& catalog, std::uint64_t alignment) {
  std::vector<std::uint64_t> sizes;
  for (std::uint32_t l = 0; l < catalog.layers(); ++l) {
    const LayerExperts& layer = catalog.layer(static_cast<LayerIndex>(l));
    if (layer.count > 0) sizes.push_back(layer.bytes());
  }
  std::sort(sizes.begin(), sizes.end());
  sizes.erase(std::unique(sizes.begin(), sizes.end()), sizes.end());
  if (sizes.size() >= Residency::kNoClass)
    throw_error(ErrorCode::kUnsupported,
                "the layers have experts of {} different sizes, more than the {} supported; use a "
                "file quantized more evenly",
                sizes.size(), Residency::kNoClass - 1);
  SizeClasses classes{.slot_bytes = std::vector<std::uint64_t>(sizes.size()),
                      .experts = std::vector<std::uint32_t>(sizes.size()),
                      .class_of_layer = {}};
  for (std::uint32_t l = 0; l < catalog.layers(); ++l) {
    const LayerExperts& layer = catalog.layer(static_cast<LayerIndex>(l));
    if (layer.count == 0) {
      classes.class_of_layer.push_back(Residency::kNoClass);
      continue;
    }
    const auto at = std::lower_bound(sizes.begin(), sizes.end(), layer.bytes());
    const auto index = static_cast<std::uint8_t>(at - sizes.begin());
    classes.class_of_layer.push_back(index);
    classes.slot_bytes[index] = std::max(classes.slot_bytes[index], layer.slot_bytes(alignment));
    for (std::uint16_t e = 0; e < layer.count; ++e) classes.experts[index] += layer.parts(e) > 0;
  }
  return classes;
}

Bytes slot_memory_of(const SizeClasses& classes, std::span<const std::uint32_t> slots_of_class) {
  CHECK_EQ(slots_of_class.size(), classes.slot_bytes.size());
  Bytes total;
  for (std::size_t c = 0; c < classes.slot_bytes.size(); ++c)
    total += Bytes(classes.slot_bytes[c]) * slots_of_class[c];
  return total;
}

std::unique_ptr<Residency> make_residency(const ExpertCatalog& catalog, const SizeClasses& classes,
                                          std::string_view policy,
                                          std::span<const std::uint32_t> slots_of_class,
                                          std::span<const float> popularity) {
  Residency::Config config{catalog.space(), {}, {slots_of_class.begin(), slots_of_class.end()}};
  config.size_class_of.assign(config.space.size(), Residency::kNoClass);
  for (std::uint32_t flat = 0; flat < config.space.size(); ++flat) {
    const ExpertId id = config.space.id(flat);
    if (catalog.has(id)) config.size_class_of[flat] = classes.class_of_layer[id.layer];
  }
  auto chooser = profiler::make_policy(policy, {.space = config.space,
                                                .size_class_of = config.size_class_of,
                                                .slots_of_class = config.slots_of_class,
                                                .popularity = popularity});
  CHECK(chooser != nullptr);  // names are validated where options are read
  return std::make_unique<Residency>(std::move(config), std::move(chooser));
}

ExpertStore::ExpertStore(const std::vector<std::string>& paths, const ExpertCatalog& catalog,
                         io::AsyncReader& reader, const Options& options, const Clock& clock)
    : paths_(paths),
      catalog_(catalog),
      reader_(reader),
      clock_(clock),
      space_(catalog.space()),
      alignment_(reader.alignment()),
      max_reads_(options.max_reads),
      classes_(size_classes(catalog, alignment_)) {
  const Bytes total = slot_memory_of(classes_, options.slots_of_class);
  if (options.memory.empty()) arena_ = io::Arena(total);
  memory_ = options.memory.empty() ? arena_.bytes() : options.memory;
  CHECK_LE(total.count, memory_.size());
  std::byte* next = memory_.data();
  for (std::size_t c = 0; c < classes_.slot_bytes.size(); ++c) {
    class_memory_.push_back(next);
    next += classes_.slot_bytes[c] * options.slots_of_class[c];
  }
  residency_ =
      make_residency(catalog, classes_, options.policy, options.slots_of_class, options.popularity);
  register_slots();
  filling_.resize(space_.size());
}

ExpertStore::~ExpertStore() { reader_.end_reads(); }

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
  const bool own = !arena_.empty();  // else whoever gave the memory keeps it
  std::vector<std::span<std::byte>> removed;
  for (std::uint8_t c = 0; own && c < slots_of_class.size(); ++c) {
    const std::uint32_t now = residency_->slots(c);
    removed.push_back(slots_memory(c, std::min(now, slots_of_class[c]), now));
  }
  // Before anything changes: these may fail.
  for (const std::span<std::byte> memory : removed) arena_.allow_giving_back(memory);
  if (own) take_memory_again(slots_of_class);
  const auto move = [this](profiler::SlotId from, profiler::SlotId to) {
    std::memcpy(slot_memory(to), slot_memory(from), classes_.slot_bytes[to.size_class]);
  };
  for (std::uint8_t c = 0; c < slots_of_class.size(); ++c)
    residency_->set_slots(c, slots_of_class[c], move);
  register_slots();
  for (const std::span<std::byte> memory : removed) arena_.give_back(memory);
}

// Asks the queue first: a decision on slots that could not be carried out would have to be undone.
FetchResult ExpertStore::fetch(ExpertId id, profiler::FillReason reason) {
  if (!reader_has_room(id)) return FetchResult::kQueueFull;
  const auto slot = residency_->begin_fill(id, reason);
  if (!slot) return FetchResult::kNoSlot;
  read_into(*slot, id, reason);
  return FetchResult::kStarted;
}

bool ExpertStore::reader_has_room(ExpertId id) const {
  return reader_.outstanding() + catalog_.layer(id.layer).parts(id.index) <= max_reads_;
}

void ExpertStore::read_into(profiler::SlotId slot, ExpertId id, profiler::FillReason reason) {
  const LayerExperts& layer = catalog_.layer(id.layer);
  std::byte* memory = slot_memory(slot);
  std::array<io::ReadRequest, kMaxExpertParts> requests;
  const std::uint32_t parts = layer.parts(id.index);
  for (std::uint32_t i = 0; i < parts; ++i) {
    const ExpertPart part = layer.part(id.index, i);
    const io::ReadWindow window = io::read_window(part.offset, part.bytes, alignment_);
    requests[i] = {.file = part.file,
                   .offset = window.offset,
                   .destination = {memory, window.length},
                   .needed = window.needed,
                   .tag = std::uint64_t{space_.flat(id)} * kMaxExpertParts + i};
    memory += io::window_capacity(part.bytes, alignment_);
  }
  filling_[space_.flat(id)] = {.reason = reason, .reads = static_cast<std::uint8_t>(parts)};
  on_their_way_ += 1;
  reader_.submit(std::span(requests).first(parts));
}

void ExpertStore::collect(io::AsyncReader::Wait wait) {
  if (const std::optional<ExpertId> failed = reap(wait)) throw_if_failed(*failed);
}

void ExpertStore::take_note(io::AsyncReader::Wait wait) { reap(wait); }

// The first expert whose fill failed while somebody waits for it, if any; the others are taken note
// of all the same.
std::optional<ExpertId> ExpertStore::reap(io::AsyncReader::Wait wait) {
  std::array<io::ReadCompletion, 32> completions;
  const Nanoseconds start = clock_.now();
  std::size_t count = reader_.reap(completions, wait);
  if (wait == io::AsyncReader::Wait::kOne) time_waited_ += clock_.now() - start;
  std::optional<ExpertId> failed;
  while (count > 0) {
    for (const io::ReadCompletion& completion : std::span(completions).first(count))
      if (!finish_read(completion) && !failed) failed = expert_of(completion);
    count = reader_.reap(completions, io::AsyncReader::Wait::kNow);
  }
  return failed;
}

void ExpertStore::throw_if_failed(ExpertId id) const {
  const Filling& filling = filling_[space_.flat(id)];
  if (!filling.failed) return;
  const ExpertPart part = catalog_.layer(id.layer).part(id.index, filling.failed_part);
  const std::string& path = paths_[part.file];
  if (filling.error == kWrongHash)
    throw_error(ErrorCode::kBadFile,
                "{}: expert {} of layer {}, {} bytes at byte {}, has not the hash {:016x}; the "
                "file is damaged or another one: copy it again",
                path, id.index, id.layer, part.bytes, part.offset, *part.hash);
  throw_read_error(path, filling.error, fmt::format("expert {} of layer {}", id.index, id.layer));
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
    if (catalog_.has(id) && state(id) == ExpertState::kAbsent) absent.push_back(id);
  }
  seed(absent, [](Bytes) {});
}

ExpertId ExpertStore::expert_of(const io::ReadCompletion& completion) const {
  return space_.id(static_cast<std::uint32_t>(completion.tag / kMaxExpertParts));
}

// False when it makes the fill of an expert fail that somebody waits for.
bool ExpertStore::finish_read(const io::ReadCompletion& completion) {
  const ExpertId id = expert_of(completion);
  const auto index = static_cast<std::uint8_t>(completion.tag % kMaxExpertParts);
  Filling& filling = filling_[space_.flat(id)];
  CHECK_GT(filling.reads, 0);
  filling.reads -= 1;
  const int error = completion.error != 0      ? completion.error
                    : hash_is_right(id, index) ? 0
                                               : kWrongHash;
  if (error != 0) {
    filling.error = error;
    filling.failed_part = index;
  }
  if (filling.reads > 0) return true;
  on_their_way_ -= 1;
  if (filling.error == 0) {
    bytes_read_ += Bytes(catalog_.layer(id.layer).bytes(id.index));
    residency_->fill_done(id);
    return true;
  }
  if (residency_->leases(id) == 0) {
    residency_->fill_failed(id);
    return true;
  }
  // A prefetch may fail unseen; what has become wanted meanwhile is read again, as a demand.
  if (filling.reason != profiler::FillReason::kDemand && reader_has_room(id)) {
    read_into(*residency_->slot(id), id, profiler::FillReason::kDemand);
    return true;
  }
  filling.failed = true;
  return false;
}

bool ExpertStore::hash_is_right(ExpertId id, std::uint32_t index) const {
  const ExpertPart expected = catalog_.layer(id.layer).part(id.index, index);
  return !expected.hash || XXH3_64bits(part(id, index), expected.bytes) == *expected.hash;
}

// Where the bytes of a part are, or will be.
const std::byte* ExpertStore::part(ExpertId id, std::uint32_t index) const {
  const auto slot = residency_->slot(id);
  CHECK(slot.has_value());
  const LayerExperts& layer = catalog_.layer(id.layer);
  CHECK_LT(index, layer.parts(id.index));
  const std::byte* memory = slot_memory(*slot);
  for (std::uint32_t i = 0; i < index; ++i)
    memory += io::window_capacity(layer.part(id.index, i).bytes, alignment_);
  return memory + layer.part(id.index, index).offset % alignment_;
}

ExpertWeights ExpertStore::weights(ExpertId id) const {
  const LayerExperts& layer = catalog_.layer(id.layer);
  CHECK(layer.listed.empty());
  std::array<kernels::WeightMatrix, kExpertMatrices> matrices;
  for (std::uint32_t m = 0; m < kExpertMatrices; ++m) {
    const ExpertSlab& slab = layer.slabs[m];
    matrices[m] = {slab.format, slab.rows, slab.columns, part(id, m)};
  }
  return {matrices[0], matrices[1], matrices[2]};
}

}  // namespace hearth::runtime
