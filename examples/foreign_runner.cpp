// A runner of its own around the expert store: a forward pass of a Qwen3-MoE model in plain loops,
// token by token. It reads the dense weights itself and keeps them; experts it sees through
// hearth/experts.h alone, so that they may take as little memory as one likes.
//
//   foreign_runner MODEL.gguf BUDGET LOGITS TOKEN...
//
// BUDGET: bytes, or a share of what all experts take ("30%"), or "least". LOGITS: a file that
// receives the f32 logits after each token. They are those of the runtime, bit for bit, since the
// loops follow the same specification; it is in these headers, of which nothing else is used:
//   kernels/arithmetic.h, kernels/attention.h   the order of products and sums
//   kernels/quant/*.h                           what the bytes of a weight format mean
//   kernels/cpu/exp.h                           the exponential
#include <hearth/experts.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/arithmetic.h"
#include "kernels/cpu/exp.h"
#include "kernels/cpu/scalar/lanes.h"
#include "kernels/quant/f32.h"
#include "kernels/quant/q4_k.h"
#include "kernels/quant/q6_k.h"

namespace {

using namespace hearth::kernels;
using Floats = std::vector<float>;

[[noreturn]] void fail(const std::string& line) { throw std::runtime_error(line); }

void check(hearth_status status) {
  if (status != HEARTH_OK) fail(hearth_message());
}

// ---- The file -----------------------------------------------------------------------------------

struct Matrix {
  std::uint32_t type = 0;  // as in GGUF files
  std::uint32_t rows = 1, columns = 0;
  const std::byte* data = nullptr;
  std::vector<std::byte> own;  // where it is not an expert's
};

// As much of a GGUF file as is needed here: numbers, and tensors by name.
class ModelFile {
 public:
  explicit ModelFile(const std::string& path) : in_(path, std::ios::binary) {
    in_.exceptions(std::ios::failbit | std::ios::badbit | std::ios::eofbit);
    if (take<std::uint32_t>() != 0x46554747) fail(path + ": this is no GGUF file");
    take<std::uint32_t>();  // version
    const auto tensors = take<std::uint64_t>(), keys = take<std::uint64_t>();
    for (std::uint64_t i = 0; i < keys; ++i) {
      const std::string key = take_text();
      numbers_[key] = take_value(take<std::uint32_t>());
    }
    for (std::uint64_t i = 0; i < tensors; ++i) take_tensor();
    data_ = (static_cast<std::uint64_t>(in_.tellg()) + 31) / 32 * 32;
  }

  double number(const std::string& key) const {
    const auto found = numbers_.find("qwen3moe." + key);
    if (found == numbers_.end()) fail("qwen3moe." + key + " is missing; this is another model");
    return found->second;
  }
  std::uint32_t count(const std::string& key) const {
    return static_cast<std::uint32_t>(number(key));
  }

  Matrix read(const std::string& name) {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) fail(name + " is missing; this is another model");
    Matrix matrix = found->second.shape;
    const std::size_t values = std::size_t{matrix.rows} * matrix.columns;
    matrix.own.resize(matrix.type == 0    ? values * 4
                      : matrix.type == 12 ? values / 256 * sizeof(Codec<WeightFormat::kQ4_K>::Block)
                      : matrix.type == 14 ? values / 256 * sizeof(Codec<WeightFormat::kQ6_K>::Block)
                                          : 0);
    if (matrix.own.empty()) fail(name + " has a format that this example does not read");
    in_.seekg(static_cast<std::streamoff>(data_ + found->second.offset));
    in_.read(reinterpret_cast<char*>(matrix.own.data()),
             static_cast<std::streamsize>(matrix.own.size()));
    matrix.data = matrix.own.data();
    return matrix;
  }

 private:
  struct Tensor {
    Matrix shape;
    std::uint64_t offset = 0;
  };

  template <typename T>
  T take() {
    T value;
    in_.read(reinterpret_cast<char*>(&value), sizeof value);
    return value;
  }
  std::string take_text() {
    const auto length = take<std::uint64_t>();
    if (length > 1 << 20) fail("a text of the file is too long; it is damaged");
    std::string text(length, '\0');
    in_.read(text.data(), static_cast<std::streamsize>(length));
    return text;
  }
  double take_value(std::uint32_t type) {
    switch (type) {
      case 0:
      case 1:
      case 7:
        return take<std::uint8_t>();
      case 2:
      case 3:
        return take<std::uint16_t>();
      case 4:
      case 5:
        return take<std::uint32_t>();
      case 6:
        return take<float>();
      case 8:
        return take_text(), 0;
      case 9:
        return take_array();
      case 10:
      case 11:
        return static_cast<double>(take<std::uint64_t>());
      case 12:
        return take<double>();
      default:
        fail("a value of the file has an unknown type; it is damaged");
    }
  }
  double take_array() {
    const auto type = take<std::uint32_t>();
    const auto size = take<std::uint64_t>();
    for (std::uint64_t i = 0; i < size; ++i) take_value(type);
    return 0;
  }
  void take_tensor() {
    const std::string name = take_text();
    Tensor tensor;
    const auto dimensions = take<std::uint32_t>();
    for (std::uint32_t i = 0; i < dimensions; ++i) {
      const auto size = static_cast<std::uint32_t>(take<std::uint64_t>());
      if (i == 0)
        tensor.shape.columns = size;
      else
        tensor.shape.rows *= size;
    }
    tensor.shape.type = take<std::uint32_t>();
    tensor.offset = take<std::uint64_t>();
    tensors_[name] = tensor;
  }

  std::ifstream in_;
  std::map<std::string, double> numbers_;
  std::map<std::string, Tensor> tensors_;
  std::uint64_t data_ = 0;
};

// ---- Arithmetic ---------------------------------------------------------------------------------

// A row of activations, and its quantized form (kernels/arithmetic.h).
struct Activations {
  explicit Activations(const Floats& given) : values(given) {
    codes.resize(values.size()), scales.resize(values.size() / 32), sums.resize(values.size() / 16);
    for (std::size_t b = 0; b < scales.size(); ++b) quantize(b);
  }

  void quantize(std::size_t b) {
    float amax = 0;
    for (std::size_t i = 0; i < 32; ++i) amax = std::max(amax, std::abs(values[32 * b + i]));
    const float scale = amax / 127;
    scales[b] = scale < std::numeric_limits<float>::min() ? 0 : scale;
    for (std::size_t i = 32 * b; i < 32 * b + 32; ++i) {
      if (scales[b] > 0) codes[i] = static_cast<int>(std::nearbyint(values[i] / scales[b]));
      sums[i / 16] += codes[i];
    }
  }

  Floats values;
  std::vector<int> codes;
  Floats scales;
  std::vector<int> sums;
};

template <typename Block>
Block load(const std::byte* at) {
  Block block;  // a copy: experts may lie at any address
  std::memcpy(&block, at, sizeof block);
  return block;
}

template <WeightFormat format>
float dot_blocks(const std::byte* row, const Activations& x) {
  using C = Codec<format>;
  constexpr std::size_t kParts = 32 / C::kPart;
  float acc[kBlockAccumulators] = {};
  Decoded<format> block{};
  for (std::size_t b = 0; b < x.scales.size(); ++b) {
    if (b % 8 == 0)
      C::decode(load<typename C::Block>(row + b / 8 * sizeof(typename C::Block)), block);
    int product = 0, minimum = 0;
    for (std::size_t p = 0; p < kParts; ++p) {
      const std::size_t part = b % 8 * kParts + p;
      const int sum = kParts == 2 ? x.sums[2 * b + p] : x.sums[2 * b] + x.sums[2 * b + 1];
      int dot = 0;
      for (std::size_t k = 0; k < C::kPart; ++k)
        dot += block.codes[part * C::kPart + k] * x.codes[32 * b + p * C::kPart + k];
      product += block.scales[part] * dot;
      minimum += block.minima[part] * sum;
    }
    float& a = acc[b % kBlockAccumulators];
    a = std::fma(static_cast<float>(product), block.d * x.scales[b], a);
    if (C::kHasMinimum) a = std::fma(static_cast<float>(minimum), block.m * x.scales[b], a);
  }
  return fold8(acc);
}

float dot_floats(const std::byte* row, const Activations& x) {
  float acc[kFloatAccumulators] = {};
  for (std::size_t i = 0; i < x.values.size(); ++i)
    acc[i % 16] = std::fma(load<float>(row + 4 * i), x.values[i], acc[i % 16]);
  return fold16(acc);
}

Floats multiply(const Matrix& weights, const Activations& x) {
  Floats result(weights.rows);
  for (std::size_t r = 0; r < weights.rows; ++r) {
    const std::size_t blocks = r * weights.columns / 256;
    if (weights.type == 12)
      result[r] = dot_blocks<WeightFormat::kQ4_K>(
          weights.data + blocks * sizeof(Codec<WeightFormat::kQ4_K>::Block), x);
    else if (weights.type == 14)
      result[r] = dot_blocks<WeightFormat::kQ6_K>(
          weights.data + blocks * sizeof(Codec<WeightFormat::kQ6_K>::Block), x);
    else
      result[r] = dot_floats(weights.data + 4 * r * weights.columns, x);
  }
  return result;
}

Floats embedding_of(const Matrix& table, std::uint32_t token) {
  using C = Codec<WeightFormat::kQ4_K>;
  if (table.type != 12 || token >= table.rows) fail("the token is not in the embedding");
  Floats values(table.columns);
  for (std::size_t i = 0; i < values.size(); ++i) {
    Decoded<WeightFormat::kQ4_K> block;
    C::decode(load<C::Block>(table.data +
                             (std::size_t{token} * table.columns + i) / 256 * sizeof(C::Block)),
              block);
    const std::size_t part = i % 256 / 32;
    values[i] =
        block.d * static_cast<float>(block.scales[part]) * static_cast<float>(block.codes[i % 256]);
    values[i] += block.m * static_cast<float>(block.minima[part]);
  }
  return values;
}

float exponential_of(float x) { return exponential(scalar::F32x16::broadcast(x)).first(); }

void rms_norm(const Matrix& weight, float epsilon, float* x, std::size_t n) {
  float squares[16] = {};
  for (std::size_t i = 0; i < n; ++i) squares[i % 16] = std::fma(x[i], x[i], squares[i % 16]);
  const float factor = 1.0f / std::sqrt(fold16(squares) / static_cast<float>(n) + epsilon);
  for (std::size_t i = 0; i < n; ++i) x[i] = x[i] * factor * load<float>(weight.data + 4 * i);
}

void rotate(double base, std::size_t position, float* x, std::size_t dims) {
  for (std::size_t i = 0; i < dims / 2; ++i) {
    const double angle = std::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(dims)) *
                         static_cast<double>(position);
    const auto c = static_cast<float>(std::cos(angle)), s = static_cast<float>(std::sin(angle));
    const float a = x[i], b = x[i + dims / 2];
    x[i] = std::fma(-b, s, a * c);
    x[i + dims / 2] = std::fma(b, c, a * s);
  }
}

void softmax(Floats& x) {
  const float most = *std::max_element(x.begin(), x.end());
  float sums[16] = {};
  for (std::size_t i = 0; i < x.size(); ++i) sums[i % 16] += x[i] = exponential_of(x[i] - most);
  const float sum = fold16(sums);
  for (float& value : x) value /= sum;
}

// One query over the keys and values of its head, 32 positions at a time (kernels/attention.h).
Floats attend(const float* query, const std::vector<std::uint16_t>& keys,
              const std::vector<std::uint16_t>& values, std::size_t dim) {
  const std::size_t positions = keys.size() / dim;
  const float lowest = -std::numeric_limits<float>::infinity();
  const float scale = 1.0f / std::sqrt(static_cast<float>(dim));
  float maximum = lowest, sum = 0;
  Floats out(dim);
  for (std::size_t begin = 0; begin < positions; begin += 32) {
    const std::size_t count = std::min<std::size_t>(32, positions - begin);
    float weights[32], before = maximum;
    std::fill_n(weights, 32, lowest);
    for (std::size_t p = 0; p < count; ++p) {
      float score = 0;
      for (std::size_t c = 0; c < dim; ++c)
        score = std::fma(query[c], f32_of_f16(keys[(begin + p) * dim + c]), score);
      weights[p] = score * scale;
      maximum = std::max(maximum, weights[p]);
    }
    const float factor = exponential_of(before - maximum);
    float halves[16];
    for (float& weight : weights) weight = exponential_of(weight - maximum);
    for (std::size_t i = 0; i < 16; ++i) halves[i] = weights[i] + weights[i + 16];
    sum = sum * factor + fold16(halves);
    for (std::size_t c = 0; c < dim; ++c) {
      out[c] *= factor;
      for (std::size_t p = 0; p < count; ++p)
        out[c] = std::fma(weights[p], f32_of_f16(values[(begin + p) * dim + c]), out[c]);
    }
  }
  for (float& value : out) value /= sum;
  return out;
}

// ---- The model ----------------------------------------------------------------------------------

class Runner {
 public:
  Runner(ModelFile file, hearth_experts* experts)
      : experts_(experts),
        heads_(file.count("attention.head_count")),
        kv_heads_(file.count("attention.head_count_kv")),
        dim_(file.count("attention.key_length")),
        used_(file.count("expert_used_count")),
        base_(file.number("rope.freq_base")),
        epsilon_(static_cast<float>(file.number("attention.layer_norm_rms_epsilon"))),
        embedding_(file.read("token_embd.weight")),
        output_norm_(file.read("output_norm.weight")),
        output_(file.read("output.weight")) {
    for (std::uint32_t i = 0; i < file.count("block_count"); ++i) {
      const std::string prefix = "blk." + std::to_string(i) + ".";
      const auto read = [&](const char* name) { return file.read(prefix + name + ".weight"); };
      layers_.push_back({read("attn_norm"),
                         read("attn_q"),
                         read("attn_k"),
                         read("attn_v"),
                         read("attn_q_norm"),
                         read("attn_k_norm"),
                         read("attn_output"),
                         read("ffn_norm"),
                         read("ffn_gate_inp"),
                         {},
                         {}});
      layers_.back().keys.resize(kv_heads_);
      layers_.back().values.resize(kv_heads_);
    }
  }

  Floats logits_after(std::uint32_t token) {
    Floats hidden = embedding_of(embedding_, token);
    for (std::uint32_t layer = 0; layer < layers_.size(); ++layer) {
      add(attention(layers_[layer], hidden), hidden);
      add(mixture(layer, hidden), hidden);
    }
    ++position_;
    return multiply(output_, normed(output_norm_, hidden));
  }

 private:
  struct Layer {
    Matrix attention_norm, query, key, value, query_norm, key_norm, output, ffn_norm, router;
    std::vector<std::vector<std::uint16_t>> keys, values;  // f16, of each KV head
  };

  static void add(const Floats& x, Floats& to) {
    for (std::size_t i = 0; i < to.size(); ++i) to[i] += x[i];
  }

  Activations normed(const Matrix& weight, Floats hidden) const {
    rms_norm(weight, epsilon_, hidden.data(), hidden.size());
    return Activations(hidden);
  }

  Floats attention(Layer& layer, const Floats& hidden) const {
    const Activations x = normed(layer.attention_norm, hidden);
    Floats queries = multiply(layer.query, x), keys = multiply(layer.key, x);
    const Floats values = multiply(layer.value, x);
    for (std::size_t h = 0; h < heads_; ++h) {
      rms_norm(layer.query_norm, epsilon_, &queries[h * dim_], dim_);
      rotate(base_, position_, &queries[h * dim_], dim_);
    }
    for (std::size_t h = 0; h < kv_heads_; ++h) {
      rms_norm(layer.key_norm, epsilon_, &keys[h * dim_], dim_);
      rotate(base_, position_, &keys[h * dim_], dim_);
      for (std::size_t c = h * dim_; c < (h + 1) * dim_; ++c) {
        layer.keys[h].push_back(f16_of_f32(keys[c]));
        layer.values[h].push_back(f16_of_f32(values[c]));
      }
    }
    Floats found;
    for (std::size_t h = 0; h < heads_; ++h) {
      const std::size_t kv = h / (heads_ / kv_heads_);
      const Floats one = attend(&queries[h * dim_], layer.keys[kv], layer.values[kv], dim_);
      found.insert(found.end(), one.begin(), one.end());
    }
    return multiply(layer.output, Activations(found));
  }

  // The only place that knows of the store.
  Floats mixture(std::uint32_t layer, const Floats& hidden) const {
    const Activations x = normed(layers_[layer].ffn_norm, hidden);
    std::vector<std::int32_t> ids;
    const Floats weights = route(layers_[layer].router, x, ids);
    hearth_layer_facts facts{};
    facts.size = sizeof facts;
    check(hearth_experts_layer(experts_, layer, &facts));
    check(hearth_experts_observe(experts_, layer, ids.data(), weights.data(), 1, used_));
    hearth_expert_lease* lease = nullptr;
    check(hearth_experts_acquire(experts_, layer, ids.data(), used_, &lease));
    check(hearth_lease_wait(lease));
    Floats sum;
    for (std::size_t rank = 0; rank < used_; ++rank) {
      hearth_expert_memory memory{};
      memory.size = sizeof memory;
      check(hearth_lease_memory(lease, rank, &memory));
      const Floats one = expert(facts, memory, x);
      if (rank == 0) sum.assign(one.size(), 0);
      for (std::size_t i = 0; i < sum.size(); ++i)
        sum[i] = rank == 0 ? one[i] * weights[0] : std::fma(one[i], weights[rank], sum[i]);
    }
    check(hearth_lease_release(lease, nullptr));
    return sum;
  }

  // The ids of the best experts, and what each counts.
  Floats route(const Matrix& router, const Activations& x, std::vector<std::int32_t>& ids) const {
    Floats scores = multiply(router, x);
    softmax(scores);
    for (std::size_t i = 0; i < scores.size(); ++i) ids.push_back(static_cast<std::int32_t>(i));
    std::stable_sort(ids.begin(), ids.end(), [&](std::int32_t a, std::int32_t b) {
      return scores[static_cast<std::size_t>(a)] > scores[static_cast<std::size_t>(b)];
    });
    ids.resize(used_);
    Floats weights;
    float sum = 0;
    for (const std::int32_t id : ids) {
      weights.push_back(scores[static_cast<std::size_t>(id)]);
      sum += weights.back();
    }
    for (float& weight : weights) weight /= std::max(sum, 0x1p-14f);
    return weights;
  }

  static Floats expert(const hearth_layer_facts& facts, const hearth_expert_memory& memory,
                       const Activations& x) {
    const auto matrix = [&](const hearth_expert_matrix& shape, std::size_t part) {
      return Matrix{shape.type,
                    shape.rows,
                    shape.columns,
                    static_cast<const std::byte*>(memory.part[part]),
                    {}};
    };
    Floats gate = multiply(matrix(facts.gate, 0), x);
    const Floats up = multiply(matrix(facts.up, 1), x);
    for (std::size_t i = 0; i < gate.size(); ++i)
      gate[i] = gate[i] / (1 + exponential_of(-gate[i])) * up[i];
    return multiply(matrix(facts.down, 2), Activations(gate));
  }

  hearth_experts* experts_;
  std::size_t heads_, kv_heads_, dim_, used_;
  double base_;
  float epsilon_;
  Matrix embedding_, output_norm_, output_;
  std::vector<Layer> layers_;
  std::size_t position_ = 0;
};

// ---- The program --------------------------------------------------------------------------------

hearth_experts* open_experts(const char* path, std::uint64_t budget, std::uint32_t at_once) {
  hearth_experts_options options{};
  options.size = sizeof options;
  options.ram = budget;
  options.at_once = at_once;
  hearth_experts* experts = nullptr;
  check(hearth_experts_open(path, &options, &experts));
  return experts;
}

// What all experts take, or the least that works, is known when the store is open.
std::uint64_t budget_of(const std::string& text, const char* path, std::uint32_t at_once) {
  if (text != "least" && !text.ends_with('%')) return std::strtoull(text.c_str(), nullptr, 10);
  hearth_experts* const probe = open_experts(path, UINT64_MAX, at_once);
  hearth_experts_facts facts{};
  facts.size = sizeof facts;
  check(hearth_experts_facts_of(probe, &facts));
  check(hearth_experts_close(probe));
  if (text == "least") return facts.least_ram;
  return facts.full_ram * std::strtoull(text.c_str(), nullptr, 10) / 100;
}

void run(const char* path, const char* budget, const char* logits_path, int tokens, char** token) {
  ModelFile file(path);
  const std::uint32_t used = file.count("expert_used_count");
  hearth_experts* const experts = open_experts(path, budget_of(budget, path, used), used);
  std::ofstream out(logits_path, std::ios::binary);
  {
    Runner runner(std::move(file), experts);
    for (int i = 0; i < tokens; ++i) {
      const Floats logits =
          runner.logits_after(static_cast<std::uint32_t>(std::strtoul(token[i], nullptr, 10)));
      out.write(reinterpret_cast<const char*>(logits.data()),
                static_cast<std::streamsize>(logits.size() * sizeof(float)));
    }
  }
  hearth_experts_counters told{};
  told.size = sizeof told;
  check(hearth_experts_count(experts, HEARTH_TIER_RAM, HEARTH_ALL_LAYERS, &told));
  std::printf("%u slots, %llu bytes: %llu hits, %llu misses, %llu evictions\n", told.slots,
              static_cast<unsigned long long>(told.memory),
              static_cast<unsigned long long>(told.hits),
              static_cast<unsigned long long>(told.misses),
              static_cast<unsigned long long>(told.evictions));
  check(hearth_experts_close(experts));
  if (!out.flush()) fail(std::string(logits_path) + ": cannot be written");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) {
    std::fprintf(stderr,
                 "usage: foreign_runner MODEL.gguf BYTES|PERCENT%%|least LOGITS TOKEN...\n");
    return 2;
  }
  try {
    run(argv[1], argv[2], argv[3], argc - 4, argv + 4);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "foreign_runner: %s\n", error.what());
    return 1;
  }
}
