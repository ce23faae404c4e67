#include "runtime/log_probs.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "base/error.h"

namespace hearth::runtime {
namespace {

constexpr char kMagic[8] = {'_', 'l', 'o', 'g', 'i', 't', 's', '_'};
constexpr float kRange = 16;           // of logits below the largest
constexpr float kHighestCode = 65535;  // of a row
constexpr std::size_t kRowHead = 2 * sizeof(float) / sizeof(std::uint16_t);
constexpr std::uint32_t kMaxVocabulary = 1 << 24;
constexpr std::uint32_t kMaxContext = 1 << 24;

std::size_t row_length(std::uint32_t vocabulary) { return kRowHead + (vocabulary + 1) / 2 * 2; }

void encode(std::span<const float> logits, std::vector<std::uint16_t>& row) {
  const auto [least, most] = std::ranges::minmax(logits);
  const float lowest = std::max(least, most - kRange);
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - most);
  const float head[2] = {(most - lowest) / kHighestCode,
                         lowest - most - static_cast<float>(std::log(sum))};
  std::ranges::fill(row, std::uint16_t{0});
  std::memcpy(row.data(), head, sizeof head);
  if (head[0] == 0) return;
  for (std::size_t i = 0; i < logits.size(); ++i)
    row[kRowHead + i] = static_cast<std::uint16_t>(
        std::clamp(std::nearbyint((logits[i] - lowest) / head[0]), 0.0f, kHighestCode));
}

}  // namespace

LogProbsWriter::LogProbsWriter(const std::string& path, const LogProbsHeader& header)
    : file_(path),
      row_(row_length(header.vocabulary)),
      vocabulary_(header.vocabulary),
      rows_left_(std::uint64_t{header.rows_per_chunk()} * header.chunks()) {
  const std::uint32_t numbers[3] = {header.context, header.vocabulary,
                                    static_cast<std::uint32_t>(header.chunks())};
  file_.write(std::as_bytes(std::span(kMagic)));
  file_.write(std::as_bytes(std::span(numbers)));
  file_.write(std::as_bytes(std::span(header.tokens)));
}

void LogProbsWriter::add(std::span<const float> logits) {
  CHECK_EQ(logits.size(), vocabulary_);
  CHECK_GT(rows_left_, 0u);
  --rows_left_;
  encode(logits, row_);
  file_.write(std::as_bytes(std::span(row_)));
}

void LogProbsWriter::finish() {
  CHECK_EQ(rows_left_, 0u);
  file_.commit();
}

LogProbsReader::LogProbsReader(const std::string& path)
    : path_(path), file_(std::fopen(path.c_str(), "rb")) {
  if (file_ == nullptr)
    throw_error(errno == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo, "{}: cannot be opened: {}",
                path, std::strerror(errno));
  read_header();
  row_.resize(row_length(header_.vocabulary));
  values_.resize(header_.vocabulary);
}

void LogProbsReader::read(void* to, std::size_t bytes) {
  if (std::fread(to, 1, bytes, file_.get()) != bytes)
    throw_error(ErrorCode::kBadFile, "{}: ends early or cannot be read; save it again", path_);
}

// The numbers decide how much memory is taken, so they are compared with the size of the file
// before it is.
void LogProbsReader::read_header() {
  struct {
    char magic[8];
    std::uint32_t context, vocabulary, chunks;
  } head;
  static_assert(sizeof head == 20);
  struct stat status{};
  fstat(fileno(file_.get()), &status);
  if (S_ISDIR(status.st_mode))
    throw_error(ErrorCode::kIo,
                "{}: is a directory; give a file that perplexity --save-all-logits made", path_);
  if (std::fread(&head, 1, sizeof head, file_.get()) != sizeof head ||
      !std::ranges::equal(head.magic, kMagic))
    throw_error(ErrorCode::kBadFile,
                "{}: is no file of log-probabilities; make one with perplexity --save-all-logits",
                path_);
  const bool sensible = head.context >= 4 && head.context <= kMaxContext && head.vocabulary >= 1 &&
                        head.vocabulary <= kMaxVocabulary && head.chunks >= 1;
  header_ = {.context = head.context, .vocabulary = head.vocabulary, .tokens = {}};
  const std::uint64_t of_chunk =
      head.context * sizeof(TokenId) +
      std::uint64_t{header_.rows_per_chunk()} * row_length(head.vocabulary) * 2;
  // Compared without a product that could overflow: of_chunk is below 2^50.
  const auto left = static_cast<std::uint64_t>(status.st_size) - sizeof head;
  if (!sensible || left % of_chunk != 0 || left / of_chunk != head.chunks)
    throw_error(
        ErrorCode::kBadFile,
        "{}: says {} chunks of {} tokens over a vocabulary of {}, but has {} bytes; save it "
        "again",
        path_, head.chunks, head.context, head.vocabulary, status.st_size);
  header_.tokens.resize(std::size_t{head.chunks} * head.context);
  read(header_.tokens.data(), header_.tokens.size() * sizeof(TokenId));
}

std::span<const float> LogProbsReader::next() {
  read(row_.data(), row_.size() * sizeof row_[0]);
  float head[2];
  std::memcpy(head, row_.data(), sizeof head);
  for (std::size_t i = 0; i < values_.size(); ++i)
    values_[i] = head[0] * static_cast<float>(row_[kRowHead + i]) + head[1];
  return values_;
}

}  // namespace hearth::runtime
