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
#include <vector>

#include "base/clock.h"
#include "io/async_reader.h"
#include "io/gguf.h"
#include "kernels/cpu_kernels.h"
#include "kernels/gpu/device.h"
#include "kernels/gpu/kernel_table.h"
#include "kernels/worker_pool.h"
#include "profiler/expert_profile.h"
#include "profiler/machine.h"
#include "profiler/placement_plan.h"
#include "profiler/planner.h"
#include "runtime/experts/expert_store.h"
#include "runtime/experts/prefetcher.h"
#include "runtime/model.h"
#include "runtime/process_memory.h"
#include "runtime/tokenizer/tokenizer.h"

namespace hearth::runtime {

class DeviceModel;
struct PlanInput;

// A GPU that computes in the place of the CPU, with at most EngineOptions::budget.vram of its
// memory.
struct ComputeDevice {
  std::string name;  // "cuda0", for messages
  std::function<std::unique_ptr<kernels::Device>()> open;
  const kernels::GpuKernels* kernels = nullptr;
  // As measured: who serves the experts that are not on the device. None: the CPU computes them.
  std::optional<profiler::Machine> rates;
  // Where its memory is too small for the model the CPU computes, and Engine::why_no_device() says
  // why; else that is an error.
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
  bool prefetching() const { return prefetcher_->enabled(); }
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

  // Expert memory as it is before the first token: empty, or seeded. Waits for reads. Throws
  // Error(kIo).
  void restore_seed();
  // Reads what is absent into free slots. Likewise.
  void load_absent();
  // Expert memory holds these and nothing else, as far as there are slots. Likewise.
  void replace_experts(std::span<const ExpertId> ids);
  bool holds_all_experts() const { return expert_slots() == plan_.experts; }
  std::uint32_t expert_slots() const;

  // What computes instead of the CPU; null: the CPU does.
  DeviceModel* device_model() const { return device_model_.get(); }
  const std::string& device_name() const { return device_name_; }      // "cuda0", or empty
  bool has_rates() const { return has_rates_; }                        // of the device
  const std::string& why_no_device() const { return why_no_device_; }  // or empty
  // Before others use the memory of experts: no step of a device reads it until the next.
  void leave_experts();
  // Throws Error(kUnsupported), which names `what`, where a device computes that has it not yet.
  void require_host(std::string_view what) const;

  std::span<const std::byte> largest_arena() const;
  bool ram_is_bounded() const { return ram_is_bounded_; }  // --ram was given

 private:
  void make_plan(const EngineOptions& options);
  void open_device_model(const ComputeDevice& device);
  void place(const PlanInput& input, const EngineOptions& options);
  void place_on_device(PlanInput input);
  std::vector<float> popularity() const;
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
  bool has_rates_ = false;
  std::unique_ptr<kernels::Device> device_;
  std::unique_ptr<DeviceModel> device_model_;
};

}  // namespace hearth::runtime
