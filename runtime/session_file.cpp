#include "runtime/session_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <array>
#include <bit>
#include <cerrno>
#include <cmath>
#include <string_view>

#include "base/check.h"
#include "base/descriptor.h"
#include "base/error.h"
#include "base/file_replacement.h"
#include "runtime/model_identity.h"
#include "runtime/session_header.h"

namespace hearth::runtime {
namespace {

static_assert(std::endian::native == std::endian::little, "sessions are copied as they lie");

constexpr std::string_view kMagic = "HEARTHSN";
constexpr std::uint32_t kVersion = 2;
constexpr std::uint32_t kMostHeader = 1 << 16;

struct FileStart {
  std::array<char, 8> magic{};
  std::uint32_t version = kVersion;
  std::uint32_t header_bytes = 0;
};
static_assert(sizeof(FileStart) == 16);

// XXH3 of all that is written or read.
class RunningHash {
 public:
  RunningHash() { XXH3_64bits_reset(state_); }
  ~RunningHash() { XXH3_freeState(state_); }
  RunningHash(const RunningHash&) = delete;
  RunningHash& operator=(const RunningHash&) = delete;

  void add(std::span<const std::byte> bytes) {
    XXH3_64bits_update(state_, bytes.data(), bytes.size());
  }
  std::uint64_t value() const { return XXH3_64bits_digest(state_); }

 private:
  XXH3_state_t* state_ = XXH3_createState();
};

class Writer {
 public:
  explicit Writer(const std::string& path) : file_(path) {}

  void put(std::span<const std::byte> bytes) {
    hash_.add(bytes);
    file_.write(bytes);
  }
  void finish() {
    const std::uint64_t check = hash_.value();
    file_.write(std::as_bytes(std::span(&check, 1)));
    file_.commit();
  }

 private:
  FileReplacement file_;
  RunningHash hash_;
};

class Reader {
 public:
  explicit Reader(const std::string& path)
      : path_(path), file_(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (file_.get() < 0 && (errno == ENOENT || errno == ENOTDIR))
      throw_error(ErrorCode::kNotFound, "{}: no such file; check the path", printable(path, 400));
    struct stat status{};
    if (file_.get() < 0 || fstat(file_.get(), &status) != 0) fail_on_file(path, "opened", errno);
    left_ = S_ISREG(status.st_mode) ? static_cast<std::uint64_t>(status.st_size) : 0;
  }

  std::uint64_t left() const { return left_; }

  void get(std::span<std::byte> bytes) {
    if (bytes.size() > left_) damaged("ends before it should");
    left_ -= bytes.size();
    for (std::span<std::byte> rest = bytes; !rest.empty();) {
      const ssize_t got = read(file_.get(), rest.data(), rest.size());
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) fail_on_file(path_, "read", errno);
      if (got == 0) damaged("ends before it should");
      rest = rest.subspan(static_cast<std::size_t>(got));
    }
    hash_.add(bytes);
  }
  void finish() {
    const std::uint64_t expected = hash_.value();
    std::uint64_t check = 0;
    get(std::as_writable_bytes(std::span(&check, 1)));
    if (check != expected) damaged("has other bytes than were written");
  }
  [[noreturn]] void damaged(std::string_view what) const {
    throw_error(ErrorCode::kBadFile, "{}: the session {}; it is damaged, remove it to start anew",
                printable(path_, 400), what);
  }

 private:
  const std::string& path_;
  Descriptor file_;
  std::uint64_t left_ = 0;
  RunningHash hash_;
};

// The bytes of values that lie side by side.
template <typename T>
std::span<std::byte> bytes_of(std::vector<T>& values) {
  return std::as_writable_bytes(std::span(values));
}

// By index, then by layer: where there are fewer slots later, every layer keeps its share.
std::vector<ExpertId> experts_in_memory(const ExpertStore& experts) {
  std::vector<ExpertId> ids;
  const ExpertSpace space = experts.catalog().space();
  for (std::uint32_t index = 0; index < space.experts_per_layer; ++index)
    for (std::uint32_t layer = 0; layer < space.layers; ++layer) {
      const ExpertId id{static_cast<std::uint16_t>(layer), static_cast<std::uint16_t>(index)};
      if (index < experts.catalog().layer(id.layer).count &&
          experts.state(id) == profiler::ExpertState::kReady)
        ids.push_back(id);
    }
  return ids;
}

SessionHeader header_of(const Engine& engine) {
  const KvFormats& formats = engine.kv_formats();
  return {.model = identity_of(engine.file()),
          .key_format = std::string(kernels::traits(formats.keys).name),
          .value_format = std::string(kernels::traits(formats.values).name),
          .kv_tail = formats.tail,
          .kv_rotated = formats.rotated,
          .vocabulary = engine.config().vocabulary};
}

SessionHeader read_header(Reader& reader, const std::string& path) {
  FileStart start;
  if (reader.left() >= sizeof start) reader.get(std::as_writable_bytes(std::span(&start, 1)));
  if (std::string_view(start.magic.data(), start.magic.size()) != kMagic)
    throw_error(ErrorCode::kBadFile, "{}: is not a session; name another file",
                printable(path, 400));
  if (start.version != kVersion)
    throw_error(ErrorCode::kUnsupported,
                "{}: the session has format version {}, this program reads {}; remove it to start "
                "anew",
                printable(path, 400), start.version, kVersion);
  if (start.header_bytes > kMostHeader) reader.damaged("has an impossible header");
  std::string text(start.header_bytes, '\0');
  reader.get(std::as_writable_bytes(std::span(text)));
  return parse_session_header(text, printable(path, 400));
}

// That the session is of this model, formats and context, and its parts as large as they must be.
void check(const SessionHeader& found, const Engine& engine, const Session& session,
           const Reader& reader, const std::string& path) {
  const auto refuse = [&](const std::string& what) {
    throw_error(ErrorCode::kBadInput, "{}: the session {}; name another file, or remove this one",
                printable(path, 400), what);
  };
  const SessionHeader wanted = header_of(engine);
  if (const auto other = profiler::difference(found.model, wanted.model)) refuse(*other);
  if (found.key_format != wanted.key_format || found.value_format != wanted.value_format ||
      found.kv_tail != wanted.kv_tail)
    refuse(
        fmt::format("has keys in {} and values in {} with a tail of {}, here they are in {} and "
                    "{} with a tail of {}",
                    printable(found.key_format), printable(found.value_format), found.kv_tail,
                    wanted.key_format, wanted.value_format, wanted.kv_tail));
  if (found.kv_rotated != wanted.kv_rotated)
    refuse(found.kv_rotated ? "has rotated keys and values, here they are not"
                            : "has keys and values that are not rotated, here they are");
  if (found.position > session.context())
    throw_error(ErrorCode::kBadInput,
                "{}: the session has {} tokens, but the context is {}; raise --ctx-size",
                printable(path, 400), found.position, session.context());
  if (found.vocabulary != wanted.vocabulary ||
      found.experts > engine.experts().catalog().space().size() ||
      found.state_bytes != session.state_bytes(found.position).count)
    reader.damaged("does not match its own header");
  const std::uint64_t rest = found.position * sizeof(TokenId) + found.vocabulary * sizeof(float) +
                             found.experts * 2 * sizeof(std::uint16_t) + found.state_bytes +
                             sizeof(std::uint64_t);
  if (reader.left() < rest) reader.damaged("ends before it should");
  if (reader.left() > rest) reader.damaged("goes on after its end");
}

// Ids of experts there are, each of them once.
std::vector<ExpertId> checked_experts(const std::vector<std::uint16_t>& pairs,
                                      const ExpertCatalog& catalog, const Reader& reader) {
  std::vector<ExpertId> ids;
  std::vector<bool> seen(catalog.space().size());
  for (std::size_t i = 0; i < pairs.size(); i += 2) {
    const ExpertId id{pairs[i], pairs[i + 1]};
    if (id.layer >= catalog.layers() || id.index >= catalog.layer(id.layer).count ||
        seen[catalog.space().flat(id)])
      reader.damaged("names an expert that there is not");
    seen[catalog.space().flat(id)] = true;
    ids.push_back(id);
  }
  return ids;
}

void check_timeline(const Timeline& timeline, std::uint32_t vocabulary, const Reader& reader) {
  for (const TokenId token : timeline.tokens)
    if (token < 0 || static_cast<std::uint32_t>(token) >= vocabulary)
      reader.damaged("has a token outside the vocabulary");
  for (const float logit : timeline.logits)
    if (!std::isfinite(logit)) reader.damaged("has logits that are not finite");
}

}  // namespace

void save_session(const std::string& path, const Engine& engine, const Session& session,
                  const Timeline& timeline) {
  CHECK_EQ(timeline.tokens.size(), std::size_t{session.position()});
  CHECK_EQ(timeline.logits.size(), std::size_t{engine.config().vocabulary});
  CHECK(!timeline.tokens.empty());
  const std::vector<ExpertId> experts = experts_in_memory(engine.experts());
  SessionHeader header = header_of(engine);
  header.position = session.position();
  header.experts = static_cast<std::uint32_t>(experts.size());
  header.state_bytes = session.state_bytes(header.position).count;
  header.random = timeline.random;

  const std::string text = to_toml(header);
  CHECK_LE(text.size(), std::size_t{kMostHeader});
  FileStart start{.header_bytes = static_cast<std::uint32_t>(text.size())};
  std::copy(kMagic.begin(), kMagic.end(), start.magic.begin());
  Writer writer(path);
  writer.put(std::as_bytes(std::span(&start, 1)));
  writer.put(std::as_bytes(std::span(text)));
  writer.put(std::as_bytes(std::span(timeline.tokens)));
  writer.put(std::as_bytes(std::span(timeline.logits)));
  std::vector<std::uint16_t> pairs;
  for (const ExpertId id : experts) pairs.insert(pairs.end(), {id.layer, id.index});
  writer.put(std::as_bytes(std::span(pairs)));
  session.save_state(header.position, [&](std::span<const std::byte> piece) { writer.put(piece); });
  writer.finish();
}

Timeline load_session(const std::string& path, Engine& engine, Session& session) {
  CHECK_EQ(session.position(), 0u);
  Reader reader(path);
  const SessionHeader header = read_header(reader, path);
  check(header, engine, session, reader, path);
  Timeline timeline{.tokens = std::vector<TokenId>(header.position),
                    .logits = std::vector<float>(header.vocabulary),
                    .random = header.random};
  std::vector<std::uint16_t> pairs(std::size_t{header.experts} * 2);
  reader.get(bytes_of(timeline.tokens));
  reader.get(bytes_of(timeline.logits));
  reader.get(bytes_of(pairs));
  try {
    session.load_state(header.position, [&](std::span<std::byte> piece) { reader.get(piece); });
    reader.finish();
    check_timeline(timeline, header.vocabulary, reader);
    const std::vector<ExpertId> experts =
        checked_experts(pairs, engine.experts().catalog(), reader);
    if (engine.device_model() == nullptr) engine.replace_experts(experts);
  } catch (...) {
    session.reset();
    throw;
  }
  session.resume(header.position);
  return timeline;
}

}  // namespace hearth::runtime
