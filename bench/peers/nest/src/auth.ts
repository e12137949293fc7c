import { CanActivate, ExecutionContext, Injectable, UnauthorizedException } from '@nestjs/common';
import { verify } from 'jsonwebtoken';

export interface Claims {
  sub: string;
  scope?: string;
}

/** Whose token it is; it throws for a bad one. */
export function claimsOf(token: string): Claims {
  return verify(token, process.env.JWT_SECRET!, { algorithms: ['HS256'] }) as Claims;
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
