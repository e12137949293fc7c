import { CanActivate, ExecutionContext, Injectable, UnauthorizedException } from '@nestjs/common';
import { createSecretKey } from 'node:crypto';
import { verify } from 'jsonwebtoken';

// A key object: with the secret as text jsonwebtoken tries it as a PEM key first,
// for every token, which costs more than everything else of a request.
const key = createSecretKey(Buffer.from(process.env.JWT_SECRET!));

export interface Claims {
  sub: string;
  scope?: string;
}

/** Whose token it is; it throws for a bad one. */
export function claimsOf(token: string): Claims {
  return verify(token, key, { algorithms: ['HS256'] }) as Claims;
}

@Injectable()
export class MayWrite implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const header: string = context.switchToHttp().getRequest().headers.authorization ?? '';
    try {
      return (claimsOf(header.replace(/^Bearer /, '')).scope ?? '').includes('notifications:write');
    } catch {
      throw new UnauthorizedException();
    }
  }
}
