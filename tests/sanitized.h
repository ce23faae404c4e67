// Whether a sanitizer watches this binary: it has a heap, memory and descriptors of its own, which
// bounds on those do not know.
#pragma once

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HEARTH_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define HEARTH_SANITIZED 1
#endif
#endif
#ifndef HEARTH_SANITIZED
#define HEARTH_SANITIZED 0
#endif

namespace hearth::testing {
inline constexpr bool kSanitized = HEARTH_SANITIZED;
}
