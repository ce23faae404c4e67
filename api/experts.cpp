// The expert store alone (include/hearth/experts.h): arguments are checked here, and the work is
// that of runtime::ExpertTiers.
#include <hearth/experts.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "api/arguments.h"
#include "api/lent_device.h"
#include "api/status.h"
#include "kernels/weight_format.h"
#include "runtime/experts/expert_listing.h"
#include "runtime/experts/expert_tiers.h"
#include "runtime/weights/weight_table.h"

using hearth::Bytes;
using hearth::ExpertId;
using hearth::LayerIndex;
using hearth::Nanoseconds;
using hearth::border::fill;
using hearth::border::guarded;
using hearth::border::LentDevice;
using hearth::border::Misuse;
using hearth::border::required;
using hearth::border::taken;
using hearth::runtime::ExpertCatalog;
using hearth::runtime::ExpertTiers;
using hearth::runtime::Tier;

struct hearth_experts {
  hearth_experts(std::vector<std::string> paths, ExpertCatalog catalog,
                 ExpertTiers::Options options, std::unique_ptr<LentDevice> lent)
      : device(std::move(lent)), tiers(std::move(paths), std::move(catalog), std::move(options)) {}

  std::unique_ptr<LentDevice> device;
  ExpertTiers tiers;
  std::vector<ExpertId> ids;          // of the call
  std::vector<std::uint16_t> routed;  // of the call
};

// Never made: what a pointer to one points to is an ExpertTiers::Lease.
struct hearth_expert_lease;

namespace hearth::border {
namespace {

static_assert(HEARTH_EXPERT_PARTS == runtime::kMaxExpertParts);

constexpr std::size_t kFirstOptions =
    offsetof(hearth_experts_options, io) + sizeof(hearth_experts_options::io);
constexpr std::size_t kFirstTable =
    offsetof(hearth_expert_table, rows_count) + sizeof(hearth_expert_table::rows_count);
constexpr std::size_t kFirstFacts =
    offsetof(hearth_experts_facts, io) + sizeof(hearth_experts_facts::io);
constexpr std::size_t kFirstLayerFacts =
    offsetof(hearth_layer_facts, down) + sizeof(hearth_layer_facts::down);
constexpr std::size_t kFirstMemory =
    offsetof(hearth_expert_memory, bytes) + sizeof(hearth_expert_memory::bytes);
constexpr std::size_t kFirstCounters =
    offsetof(hearth_experts_counters, reserved) + sizeof(hearth_experts_counters::reserved);

std::string policy_of(const hearth_experts_options& given) {
  if (given.policy == nullptr) return std::string(profiler::recommend_policy());
  const auto names = profiler::policy_names();
  if (std::ranges::find(names, std::string_view(given.policy)) == names.end())
    throw Misuse(HEARTH_ERROR_USAGE, "policy {} is unknown; give one of {}",
                 printable(given.policy), fmt::join(names, ", "));
  return given.policy;
}

io::ReaderOptions reader_of(const hearth_experts_options& given) {
  io::ReaderOptions options;
  if (flag(given.page_cache, "page_cache")) options.direct = io::DirectIo::kOff;
  if (given.io == nullptr) return options;
  const auto backend = io::parse_io_backend(given.io);
  if (!backend)
    throw Misuse(HEARTH_ERROR_USAGE, "io is {}; give uring, pread, or null", printable(given.io));
  options.backend = *backend;
  return options;
}

ExpertTiers::Options options_of(const hearth_experts_options& given, LentDevice* device) {
  if (given.ram == 0) throw Misuse(HEARTH_ERROR_USAGE, "options->ram is 0; give a budget");
  if ((device == nullptr) != (given.device_memory == 0))
    throw Misuse(HEARTH_ERROR_USAGE,
                 "options->device_memory is {} {} a device; give a budget and a device, or neither",
                 given.device_memory, device == nullptr ? "without" : "with");
  return {.ram = Bytes(given.ram),
          .device_memory = Bytes(given.device_memory),
          .device = device,
          .policy = policy_of(given),
          .at_once = std::max(1u, given.at_once),
          .reader = reader_of(given)};
}

// `find` gives the paths of files and the catalog of their experts.
template <typename Find>
hearth_status open_store(const hearth_experts_options* options, hearth_experts** experts,
                         Find find) noexcept {
  return guarded([&] {
    required(experts, "experts");
    const auto given = taken(options, kFirstOptions, "options");
    std::unique_ptr<LentDevice> device;
    if (given.device != nullptr) device = std::make_unique<LentDevice>(given.device);
    const ExpertTiers::Options own = options_of(given, device.get());
    auto [paths, catalog] = find();
    *experts = new hearth_experts(std::move(paths), std::move(catalog), own, std::move(device));
  });
}

struct Found {
  std::vector<std::string> paths;
  ExpertCatalog catalog;
};

Found found_in(const std::string& path) {
  const io::GgufFile file = io::GgufFile::open(path, runtime::block_shape_of);
  return {file.paths(), runtime::find_experts(file)};
}

Found listed_in(const hearth_expert_table& table) {
  if (table.files_count > 0) required(table.files, "table->files");
  if (table.rows_count > 0) required(table.rows, "table->rows");
  std::vector<std::string> files;
  for (std::size_t i = 0; i < table.files_count; ++i)
    files.push_back(path_of(table.files[i], "a file of the table"));
  std::vector<runtime::ListedPart> parts;
  for (const hearth_expert_row& row : std::span(table.rows, table.rows_count)) {
    runtime::ExpertPart part{.file = row.file, .offset = row.offset, .bytes = row.length};
    if (flag(static_cast<std::int32_t>(row.has_hash), "has_hash")) part.hash = row.hash;
    parts.push_back({row.layer, row.expert, part});
  }
  ExpertCatalog catalog = runtime::list_experts(files, parts);
  return {std::move(files), std::move(catalog)};
}

LayerIndex checked_layer(const ExpertTiers& tiers, std::uint32_t layer) {
  if (layer >= tiers.catalog().layers())
    throw Misuse(HEARTH_ERROR_USAGE, "layer {} is out of range; there are {}", layer,
                 tiers.catalog().layers());
  return static_cast<LayerIndex>(layer);
}

// Into the store's own table, so that nothing is allocated in the long run.
void take_ids(hearth_experts& store, std::uint32_t layer, const std::int32_t* ids,
              std::size_t count) {
  const LayerIndex checked = checked_layer(store.tiers, layer);
  if (count > 0) required(ids, "ids");
  store.ids.clear();
  for (const std::int32_t id : std::span(ids, count)) {
    const ExpertId expert{checked, static_cast<std::uint16_t>(id)};
    if (id < 0 || id > UINT16_MAX || !store.tiers.catalog().has(expert))
      throw Misuse(HEARTH_ERROR_USAGE, "expert {} of layer {} is out of range; there are {}", id,
                   layer, store.tiers.catalog().layer(checked).count);
    store.ids.push_back(expert);
  }
}

hearth_experts& opened(hearth_experts* given) {
  hearth_experts& store = required(given, "experts");
  check(store.tiers.process(), "store");
  return store;
}

ExpertTiers::Lease& held(hearth_expert_lease* given) {
  auto& lease = reinterpret_cast<ExpertTiers::Lease&>(required(given, "lease"));
  check(lease.tiers().process(), "store");
  if (!lease.held())
    throw Misuse(HEARTH_ERROR_STATE, "the lease was released before; acquire another one");
  return lease;
}

ExpertTiers::Lease& held(hearth_expert_lease* given, std::size_t index) {
  ExpertTiers::Lease& lease = held(given);
  if (index >= lease.size())
    throw Misuse(HEARTH_ERROR_USAGE, "index {} is out of range; the lease has {}", index,
                 lease.size());
  return lease;
}

Tier checked_tier(const ExpertTiers& tiers, hearth_tier tier) {
  if (tier == HEARTH_TIER_RAM) return Tier::kRam;
  if (tier != HEARTH_TIER_DEVICE || !tiers.has_device())
    throw Misuse(HEARTH_ERROR_USAGE, "tier {} is not there; give one that is",
                 static_cast<int>(tier));
  return Tier::kDevice;
}

void check_no_lease(const ExpertTiers& tiers, const char* what) {
  if (tiers.leases_held() > 0)
    throw Misuse(HEARTH_ERROR_STATE, "{} while {} lease(s) are held; release them", what,
                 tiers.leases_held());
}

hearth_expert_matrix matrix_of(const runtime::ExpertSlab& slab) {
  return {kernels::traits(slab.format).gguf_type, slab.rows, slab.columns};
}

}  // namespace
}  // namespace hearth::border

using namespace hearth::border;

extern "C" {

hearth_status hearth_experts_open(const char* gguf_path, const hearth_experts_options* options,
                                  hearth_experts** experts) {
  return open_store(options, experts, [&] { return found_in(path_of(gguf_path, "gguf_path")); });
}

hearth_status hearth_experts_open_table(const hearth_expert_table* table,
                                        const hearth_experts_options* options,
                                        hearth_experts** experts) {
  return open_store(options, experts,
                    [&] { return listed_in(taken(table, kFirstTable, "table")); });
}

hearth_status hearth_experts_close(hearth_experts* experts) {
  return guarded([&] {
    if (experts == nullptr) return;
    opened(experts);
    check_no_lease(experts->tiers, "the store is closed");
    delete experts;
  });
}

hearth_status hearth_experts_facts_of(const hearth_experts* experts, hearth_experts_facts* facts) {
  return guarded([&] {
    const ExpertTiers& tiers = required(experts, "experts").tiers;
    const ExpertCatalog& catalog = tiers.catalog();
    hearth_experts_facts told{};
    told.layers = catalog.layers();
    told.experts = catalog.total();
    told.experts_per_layer = catalog.space().experts_per_layer;
    told.bytes = catalog.bytes().count;
    told.least_ram = tiers.needs(Tier::kRam).least.count;
    told.full_ram = tiers.needs(Tier::kRam).full.count;
    if (tiers.has_device()) {
      told.least_device = tiers.needs(Tier::kDevice).least.count;
      told.full_device = tiers.needs(Tier::kDevice).full.count;
    }
    told.policy = tiers.policy().c_str();
    told.io = tiers.reader_description().c_str();
    fill(facts, told, kFirstFacts, "facts");
  });
}

hearth_status hearth_experts_layer(const hearth_experts* experts, uint32_t layer,
                                   hearth_layer_facts* facts) {
  return guarded([&] {
    const ExpertTiers& tiers = required(experts, "experts").tiers;
    const hearth::runtime::LayerExperts& own = tiers.catalog().layer(checked_layer(tiers, layer));
    hearth_layer_facts told{};
    told.experts = own.count;
    if (own.count > 0 && own.listed.empty()) {
      told.matrices = hearth::runtime::kExpertMatrices;
      told.gate = matrix_of(own.slabs[0]);
      told.up = matrix_of(own.slabs[1]);
      told.down = matrix_of(own.slabs[2]);
    }
    fill(facts, told, kFirstLayerFacts, "facts");
  });
}

hearth_status hearth_experts_observe(hearth_experts* experts, uint32_t layer, const int32_t* ids,
                                     const float* weights, size_t tokens, size_t used) {
  return guarded([&] {
    hearth_experts& store = opened(experts);
    if (tokens > 1u << 20 || used > UINT16_MAX)
      throw Misuse(HEARTH_ERROR_USAGE, "{} tokens of {} experts are more than fits a decision",
                   tokens, used);
    take_ids(store, layer, ids, tokens * used);
    if (store.ids.empty()) return;
    store.routed.clear();
    for (const ExpertId id : store.ids) store.routed.push_back(id.index);
    store.tiers.observe({.layer = static_cast<LayerIndex>(layer),
                         .rows = static_cast<std::uint32_t>(tokens),
                         .experts_per_row = static_cast<std::uint32_t>(used),
                         .experts = store.routed,
                         .weights = {weights, weights == nullptr ? 0 : store.ids.size()}});
  });
}

hearth_status hearth_experts_hint(hearth_experts* experts, uint32_t layer, const int32_t* ids,
                                  size_t count, uint64_t deadline_ns) {
  return guarded([&] {
    hearth_experts& store = opened(experts);
    take_ids(store, layer, ids, count);
    const auto most = static_cast<std::uint64_t>(Nanoseconds::max().count());
    store.tiers.hint(store.ids, Nanoseconds(deadline_ns == 0 ? most : std::min(deadline_ns, most)));
  });
}

hearth_status hearth_experts_acquire(hearth_experts* experts, uint32_t layer, const int32_t* ids,
                                     size_t count, hearth_expert_lease** lease) {
  return guarded([&] {
    hearth_experts& store = opened(experts);
    required(lease, "lease");
    take_ids(store, layer, ids, count);
    *lease = reinterpret_cast<hearth_expert_lease*>(&store.tiers.acquire(store.ids));
  });
}

hearth_status hearth_lease_wait(hearth_expert_lease* lease) {
  return guarded([&] {
    ExpertTiers::Lease& own = held(lease);
    own.tiers().wait(own);
  });
}

hearth_status hearth_lease_ready(hearth_expert_lease* lease, size_t index, int32_t* ready) {
  return guarded([&] {
    ExpertTiers::Lease& own = held(lease, index);
    required(ready, "ready");
    *ready = own.tiers().ready(own, index) ? 1 : 0;
  });
}

hearth_status hearth_lease_event(hearth_expert_lease* lease, void** event) {
  return guarded([&] {
    const ExpertTiers::Lease& own = held(lease);
    required(event, "event");
    if (!own.waited())
      throw Misuse(HEARTH_ERROR_STATE, "the copies are not enqueued yet; call hearth_lease_wait()");
    *event = own.event();
  });
}

hearth_status hearth_lease_memory(hearth_expert_lease* lease, size_t index,
                                  hearth_expert_memory* memory) {
  return guarded([&] {
    const ExpertTiers::Lease& own = held(lease, index);
    if (!own.tiers().readable(own, index))
      throw Misuse(HEARTH_ERROR_STATE, "the expert is not there yet; call hearth_lease_wait()");
    const hearth::runtime::ExpertPlace place = own.tiers().place(own, index);
    hearth_expert_memory told{};
    told.slot = place.slot;
    told.parts = place.parts;
    told.slot_bytes = place.slot_bytes;
    std::copy(place.part.begin(), place.part.end(), told.part);
    std::copy(place.bytes.begin(), place.bytes.end(), told.bytes);
    fill(memory, told, kFirstMemory, "memory");
  });
}

hearth_status hearth_lease_release(hearth_expert_lease* lease, void* stream) {
  return guarded([&] {
    ExpertTiers::Lease& own = held(lease);
    own.tiers().release(own, stream);
  });
}

hearth_status hearth_experts_poll(hearth_experts* experts) {
  return guarded([&] { opened(experts).tiers.poll(); });
}

hearth_status hearth_experts_set_budget(hearth_experts* experts, hearth_tier tier, uint64_t bytes) {
  return guarded([&] {
    ExpertTiers& tiers = opened(experts).tiers;
    const Tier checked = checked_tier(tiers, tier);
    check_no_lease(tiers, "a budget changes");
    tiers.set_budget(checked, Bytes(bytes));
  });
}

hearth_status hearth_experts_export(const hearth_experts* experts, char* text, size_t capacity,
                                    size_t* bytes) {
  return guarded([&] {
    const ExpertTiers& tiers = required(experts, "experts").tiers;
    required(bytes, "bytes");
    if (capacity > 0) required(text, "text");
    const std::string whole = hearth::runtime::residence_text(tiers.residence(), tiers.catalog());
    std::copy_n(whole.data(), std::min(capacity, whole.size()), text);
    *bytes = whole.size();
  });
}

hearth_status hearth_experts_import(hearth_experts* experts, const char* text, size_t bytes,
                                    uint64_t* placed) {
  return guarded([&] {
    ExpertTiers& tiers = opened(experts).tiers;
    if (bytes > 0) required(text, "text");
    const std::uint64_t read = tiers.take_residence(
        hearth::runtime::parse_residence({text, bytes}, tiers.catalog(), "the plan"));
    if (placed != nullptr) *placed = read;
  });
}

hearth_status hearth_experts_count(const hearth_experts* experts, hearth_tier tier, uint32_t layer,
                                   hearth_experts_counters* counters) {
  return guarded([&] {
    const ExpertTiers& tiers = required(experts, "experts").tiers;
    const Tier checked = checked_tier(tiers, tier);
    std::optional<LayerIndex> one;
    if (layer != HEARTH_ALL_LAYERS) one = checked_layer(tiers, layer);
    const ExpertTiers::Counters own = tiers.counters(checked, one);
    hearth_experts_counters told{};
    told.hits = own.routed.hits;
    told.misses = own.routed.misses;
    told.evictions = own.routed.evictions;
    told.guesses = own.routed.prefetches;
    told.guesses_used = own.routed.prefetches_used;
    told.guesses_late = own.hints_late;
    told.guesses_dropped = own.hints_dropped;
    told.bytes_moved = own.moved.count;
    told.stall_ns = static_cast<std::uint64_t>(own.waited.count());
    told.memory = own.memory.count;
    told.slots = own.slots;
    told.resident = own.resident;
    told.leased = own.leased;
    fill(counters, told, kFirstCounters, "counters");
  });
}
}
