// Engine: a loaded model, the memory it was given, and the machinery that runs it.
//
// The model is immutable. Reader, expert store and workers are shared by the sessions of the engine
// and used by one thread at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/function_ref.h"
#include "io/async_reader.h"
#include "io/gguf.h"
#include "kernels/cpu_kernels.h"
#include "kernels/gpu/device.h"
#include "kernels/gpu/kernel_table.h"
#include "kernels/worker_pool.h"
#include "profiler/expert_profile.h"
#include "profiler/lane_tuner.h"
#include "profiler/machine.h"
#include "profiler/placement_plan.h"
#include "profiler/planner.h"
#include "profiler/step_split.h"
#include "runtime/experts/expert_store.h"
#include "runtime/experts/prefetcher.h"
#include "runtime/model.h"
#include "runtime/process_memory.h"
#include "runtime/tokenizer/tokenizer.h"

namespace hearth::runtime {

class DeviceModel;
struct PlanInput;

// Who serves the experts that a step wants and that are in RAM, but not on the device.
enum class MissService : std::uint8_t {
  kMeasured,  // as ComputeDevice::rates say
  kLink,      // they are fetched, as far as slots allow
  kCpu,       // the CPU computes them, and slots keep what they have
};

// Who gives the slots of a device to experts while a step runs.
enum class GpuCache : std::uint8_t {
  kDevice,  // its kernels, within one graph
  kHost,    // the host, layer by layer: slow, for finding faults (runtime/gpu/host_cache.h)
};

// A GPU that computes in the place of the CPU, with at most EngineOptions::budget.vram of its
// memory.
struct ComputeDevice {
  std::string name;  // "cuda0", for messages
  std::function<std::unique_ptr<kernels::Device>()> open;
  const kernels::GpuKernels* kernels = nullptr;
  MissService misses = MissService::kMeasured;
  GpuCache cache = GpuCache::kDevice;
  std::optional<profiler::Machine> rates;  // as measured; none: as MissService::kCpu
  // Where its memory is too small for the model, or it does not open, the CPU computes, and
  // Engine::why_no_device() says why; else that is an error.
  bool if_it_fits = false;
};

struct EngineOptions {
  std::string model_path;
  profiler::MemoryBudget budget;
  std::optional<ComputeDevice> device;
  std::uint32_t context = 0;    // 0: the training context, at most kDefaultContext
  std::uint32_t batch = 512;    // at most the context and kMaxBatch
  std::uint32_t threads = 0;    // 0: one per core
  std::string policy = "auto";  // or one of profiler::policy_names()
  bool prefetch = true;
  kernels::KvFormat key_format = kernels::KvFormat::kF16;
  kernels::KvFormat value_format = kernels::KvFormat::kF16;
  // Newest positions that are kept in f16 beside a quantized format; none: kDefaultKvTail.
  std::optional<std::uint32_t> kv_tail;
  bool kv_rotation = true;  // of what is quantized (KvFormats)
  io::ReaderOptions io;
  // Asked once the model is known, for the profile to seed expert memory and guide the policy by;
  // it must be of a model of this shape. May return nothing.
  std::function<std::shared_ptr<const profiler::ExpertProfile>(const io::GgufFile&, const Model&)>
      find_profile;
  std::function<std::unique_ptr<io::AsyncReader>(const std::vector<std::string>& paths,
                                                 const io::ReaderOptions&)>
      open_reader = io::AsyncReader::open;
  std::function<Bytes()> resident = resident_memory;
  // Taken as it is: budget, context, batch, threads, policy, prefetch and the formats of keys and
  // values are then those of the plan.
  std::optional<profiler::PlacementPlan> plan;
  std::string plan_path;  // for messages
  void follow(profiler::PlacementPlan plan, const std::string& path);
  // A line for people, about what had to change while the engine loads or runs.
  std::function<void(const std::string&)> notice;
  // Called while dense weights and seeded experts are read, with bytes done and bytes in all.
  std::function<void(Bytes, Bytes)> progress;
};
inline constexpr std::uint32_t kDefaultContext = 4096;
// Halves what q4_0 costs in contexts of 1024 tokens (benchmarks/kv.sh).
inline constexpr std::uint32_t kDefaultKvTail = 128;
// Keeps (row, rank) pairs within 32 bits; far more than the largest batch that still gains speed.
inline constexpr std::uint32_t kMaxBatch = 1 << 16;

class Engine {
 public:
  // Throws Error when the model cannot be run; nothing is loaded half.
  explicit Engine(const EngineOptions& options);
  ~Engine();

  const io::GgufFile& file() const { return file_; }
  const Model& model() const { return *model_; }
  const ModelConfig& config() const { return model_->config; }
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  const profiler::ModelNeeds& needs() const { return needs_; }
  const profiler::PlacementPlan& plan() const { return plan_; }
  const std::string& policy() const { return plan_.policy; }
  const KvFormats& kv_formats() const { return kv_formats_; }
  const profiler::ExpertProfile* profile() const { return profile_.get(); }  // may be none
  // The experts that are in memory before the first token, most wanted first.
  std::span<const ExpertId> seed() const { return plan_.seed; }
  Bytes seed_bytes() const;
  const kernels::CpuKernels& kernels() const { return kernels_; }
  const Clock& clock() const { return clock_; }
  std::uint32_t threads() const { return pool_.threads(); }
  bool prefetching() const;
  // Since the start, from disk or over the link of the device that computes; between steps.
  profiler::PrefetchCounts prefetches() const;
  Bytes bytes_read() const { return reader_->bytes_read(); }  // since start, dense weights included
  std::string io_description() const { return reader_->description(); }
  bool io_is_direct() const { return reader_->direct(); }  // not through the page cache

  io::AsyncReader& reader() { return *reader_; }
  kernels::WorkerPool& pool() { return pool_; }
  ExpertStore& experts() { return *experts_; }
  const ExpertStore& experts() const { return *experts_; }
  Prefetcher& prefetcher() { return *prefetcher_; }
  const Prefetcher& prefetcher() const { return *prefetcher_; }

  std::span<const std::byte> dense_memory() const { return dense_.bytes(); }
  // Memory of the slots that are in use: the plan's at first, and never more. Gives memory back or
  // takes it again between two steps, as many slots as these bytes hold. Throws Error(kBudget)
  // below the least that works and when the system refuses memory; then nothing has changed.
  Bytes expert_ram() const;
  Bytes least_expert_ram() const;
  void set_expert_ram(Bytes bytes);
  // Likewise of a device that has lanes, which can do without any slots. Throws what
  // DeviceModel::set_slots throws.
  void set_expert_vram(Bytes bytes);
  std::vector<std::uint32_t> expert_vram_slots() const;  // of each class; none without a device

  // Expert memory as it is before the first token: empty, or seeded. Waits for reads. Throws
  // Error(kIo).
  void restore_seed();
  // Reads what is absent into free slots. Likewise.
  void load_absent();
  // Expert memory holds these and nothing else, as far as there are slots and a device does not
  // hold them for good. Likewise.
  void replace_experts(std::span<const ExpertId> ids) {
    replace_experts(ids, [](Bytes) {});
  }
  bool holds_all_experts() const { return expert_slots() == plan_.experts; }
  std::uint32_t expert_slots() const;

  // What computes instead of the CPU; null: the CPU does.
  DeviceModel* device_model() const { return device_model_.get(); }
  const std::string& device_name() const { return device_name_; }  // "cuda0", or empty
  // As ComputeDevice::rates have them.
  const std::optional<profiler::GpuMachine>& device_rates() const { return device_rates_; }
  MissService miss_service() const { return miss_service_; }
  GpuCache gpu_cache() const { return gpu_cache_; }
  const std::string& why_no_device() const { return why_no_device_; }  // or empty
  // Of all that this process takes of the device: --vram, or what other programs left of it.
  Bytes vram_budget() const { return vram_budget_; }
  // Instead of EngineOptions::notice, from now on; between steps.
  void set_notice(std::function<void(const std::string&)> notice) { notice_ = std::move(notice); }
  void give_notice(const std::string& line) const {
    if (notice_) notice_(line);
  }
  // Before others use the memory of experts: no step of a device reads it until the next.
  void leave_experts();

  std::span<const std::byte> largest_arena() const;
  bool ram_is_bounded() const { return ram_is_bounded_; }  // --ram was given

 private:
  void make_plan(const EngineOptions& options);
  void load_what_fits(const EngineOptions& options);
  void open_device(const ComputeDevice& device);
  bool plan_again(const EngineOptions& options);
  void compute_without_device(const std::string& why);
  void try_session();
  void open_device_model(const ComputeDevice& device);
  profiler::FetchLadder fetches(const ComputeDevice& device) const;
  void place(const PlanInput& input, const EngineOptions& options);
  void place_on_device(PlanInput input, const profiler::Machine* machine);
  void fill_ram_beside_device(FunctionRef<void(Bytes)> progress);
  void replace_experts(std::span<const ExpertId> ids, FunctionRef<void(Bytes)> progress);
  Bytes bytes_to_load() const;
  bool ram_has_room_for_the_rest() const;
  std::vector<float> popularity() const;
  std::vector<float> popularity_in_ram() const;
  void load(const EngineOptions& options);

  const bool ram_is_bounded_;
  const KvFormats kv_formats_;
  const Clock& clock_;
  const kernels::CpuKernels& kernels_;
  io::GgufFile file_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<Tokenizer> tokenizer_;
  kernels::WorkerPool pool_;
  io::Arena dense_;  // before the reader: memory outlives the reads into it
  std::unique_ptr<io::AsyncReader> reader_;
  profiler::ModelNeeds needs_;
  profiler::PlacementPlan plan_;
  std::shared_ptr<const profiler::ExpertProfile> profile_;
  std::unique_ptr<ExpertStore> experts_;
  std::unique_ptr<Prefetcher> prefetcher_;
  std::string device_name_, why_no_device_;
  std::function<void(const std::string&)> notice_;
  Bytes vram_budget_;
  std::optional<Bytes> vram_left_;  // for plans, where the device had not the memory of the first
  std::optional<profiler::GpuMachine> device_rates_;
  MissService miss_service_ = MissService::kMeasured;
  GpuCache gpu_cache_ = GpuCache::kDevice;
  std::unique_ptr<kernels::Device> device_;
  std::unique_ptr<DeviceModel> device_model_;
};

}  // namespace hearth::runtime
